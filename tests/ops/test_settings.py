"""Settings: flags over variables over the file over defaults; what nobody knows is an error that names it."""

from pathlib import Path

import pytest

from bennu.errors import BadSettings
from bennu.ops import names
from bennu.ops.settings import ServiceSettings, load
from bennu_cserver.settings import CServerSettings
from bennu_qserver.settings import QServerSettings
from bennu_saga.settings import SagaSettings

APP = ["--app", "bank.app:app"]


def written(directory: Path, text: str) -> str:
    """A TOML file with this text."""
    path = directory / "bennu.toml"
    path.write_text(text)
    return str(path)


def problem(
    argv: list[str], environ: dict[str, str] | None = None, kind: type[ServiceSettings] = CServerSettings
) -> str:
    """What is said of settings that make no sense."""
    with pytest.raises(BadSettings) as raised:
        load(kind, argv, environ or {})
    return str(raised.value)


def test_the_stronger_source_wins(tmp_path: Path) -> None:
    """Flag over variable over the service's table over the top of the file over the default."""
    table = ["--config", written(tmp_path, 'partitions = 2\napp = "x:y"\n[cserver]\npartitions = 3\n')]
    environ, flag = {"BENNU_PARTITIONS": "4"}, ["--partitions", "5"]
    assert load(CServerSettings, APP, {}).partitions == 1
    assert load(SagaSettings, table, {}).partitions == 2
    assert load(CServerSettings, table, {}).partitions == 3
    assert load(CServerSettings, table, environ).partitions == 4
    assert load(CServerSettings, [*table, *flag], environ).partitions == 5


def test_a_variable_may_name_the_file(tmp_path: Path) -> None:
    """BENNU_CONFIG does, and the flag over it."""
    environ = {"BENNU_CONFIG": written(tmp_path, 'app = "x:y"')}
    assert load(CServerSettings, [], environ).app == "x:y"
    assert "none.toml" in problem(["--config", "none.toml"], environ)


def test_an_empty_variable_counts_as_absent() -> None:
    """Compose files can't leave a variable out."""
    assert load(CServerSettings, APP, {"BENNU_PARTITIONS": ""}).partitions == 1


def test_what_is_not_ours_is_passed_over() -> None:
    """Variables without our prefix belong to others, and each service takes its own among ours."""
    environ = {"PATH": "/bin", "BENNU": "x", "BENNU_POSTGRES": "postgresql://u@localhost/bank"}
    assert load(CServerSettings, APP, environ).app == "bank.app:app"
    assert load(QServerSettings, APP, environ).app == "bank.app:app"


@pytest.mark.parametrize("kind", [CServerSettings, QServerSettings, SagaSettings])
@pytest.mark.parametrize("variable", ["BENNU_PARTITION", "BENNU_grpc", "BENNU_", "BENNU_SERVICE"])
def test_a_variable_that_nobody_knows_is_named(kind: type[ServiceSettings], variable: str) -> None:
    """In every service, so a misspelt one is noticed wherever it is set."""
    assert f"no variable is called {variable}" in problem(APP, {variable: "1"}, kind)


def test_a_close_name_is_suggested(tmp_path: Path) -> None:
    """For flag, variable and key alike."""
    assert "no flag is called --partition; did you mean --partitions?" in problem([*APP, "--partition", "2"])
    assert "did you mean BENNU_PARTITIONS?" in problem(APP, {"BENNU_PARTITION": "2"})
    config = ["--config", written(tmp_path, "[cserver]\ngrcp = 'x'\n")]
    said = problem([*APP, *config])
    assert "bennu.toml: no key is called cserver.grcp; did you mean cserver.grpc?" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("partitons = 2", "no key is called partitons; did you mean partitions?"),
        ("[cserver]\nonce = true", "no key is called cserver.once"),
        ("[cserve]\ngrpc = 'x'", "no key is called cserve"),
        ("cserver = 3", "cserver must be a table"),
        ("partitions = 0", "bennu.toml: partitions: "),
        ("[cserver]\npartitions = 'many'", "bennu.toml: cserver.partitions: "),
        ("partitions = = 2", "bennu.toml: "),
    ],
)
def test_a_file_that_makes_no_sense_is_named(tmp_path: Path, text: str, said: str) -> None:
    """With the file, and the key in it."""
    assert said in problem([*APP, "--config", written(tmp_path, text)])


@pytest.mark.parametrize(
    ("argv", "environ", "said"),
    [
        ([], {}, "app is missing: give --app, set BENNU_APP, or write app in the file of --config"),
        ([*APP, "--partitions", "0"], {}, "--partitions: "),
        ([*APP, "--partitions", "x"], {}, "--partitions: "),
        ([*APP, "--partitions"], {}, "--partitions: expected one argument"),
        (APP, {"BENNU_PARTITIONS": "1025"}, "BENNU_PARTITIONS: "),
        (APP, {"BENNU_LOG_LEVEL": "loud"}, "BENNU_LOG_LEVEL: "),
        ([*APP, "--window-count", "0"], {}, "--window-count: "),
        ([*APP, "stray"], {}, "no flag is called stray"),
        ([*APP, "--log-secret-key", "x"], {}, "no flag is called --log-secret-key"),
    ],
)
def test_a_value_that_makes_no_sense_names_its_source(argv: list[str], environ: dict[str, str], said: str) -> None:
    """The flag or variable where it stood, not the name of a field inside."""
    assert said in problem(argv, environ)


def test_a_secret_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    """Never from the command line, which every user of a host can see; the stronger source replaces either form."""
    secret = tmp_path / "secret"
    secret.write_text("from-the-file\n")
    in_file = {"BENNU_LOG_SECRET_KEY_FILE": str(secret)}
    assert load(CServerSettings, APP, {"BENNU_LOG_SECRET_KEY": "k"}).secret_values() == ["k"]
    assert load(CServerSettings, APP, in_file).log_credentials() == {"secret_key": "from-the-file"}
    assert load(
        CServerSettings, [*APP, "--log-secret-key-file", str(secret)], {"BENNU_LOG_SECRET_KEY": "k"}
    ).secret_values() == ["from-the-file"]
    both = {"BENNU_LOG_SECRET_KEY": "k", **in_file}
    assert "BENNU_LOG_SECRET_KEY and BENNU_LOG_SECRET_KEY_FILE are both given" in problem(APP, both)
    assert "BENNU_LOG_SECRET_KEY_FILE: " in problem(APP, {"BENNU_LOG_SECRET_KEY_FILE": "/no/such/file"})


def test_settings_do_not_show_their_secrets() -> None:
    """Neither printed whole nor in an error about another field."""
    environ = {"BENNU_LOG_SECRET_KEY": "hunter2222"}
    assert "hunter2222" not in repr(load(CServerSettings, APP, environ))
    assert "hunter2222" not in problem([*APP, "--partitions", "0"], environ)


@pytest.mark.parametrize("kind", [CServerSettings, QServerSettings, SagaSettings])
def test_every_setting_has_a_name_and_words(kind: type[ServiceSettings]) -> None:
    """`names.py` knows each, and `--help` says what each is for."""
    assert set(kind.model_fields) <= names.known_to(kind.service)
    assert all(field.description for field in kind.model_fields.values())
