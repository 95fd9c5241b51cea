"""Commands are told their settings as services are: flags over `BENNU_…` variables over a TOML file."""

import json
from pathlib import Path

import pytest

from bennu.stack.ports import HOST, free_port
from tests.cli.shell import BANK, Shell, run


def config(folder: Path, text: str) -> Path:
    """A file of settings."""
    path = folder / "bennu.toml"
    path.write_text(text)
    return path


def made(bennu: Shell, *flags: object) -> list[str]:
    """Partitions whose journals `topics create` says are there."""
    told = bennu("topics", "create", "--json", *flags)
    assert told.code == 0, told.err
    return [topic["name"] for topic in json.loads(told.out) if "-events-" in topic["name"]]


def test_flags_come_before_variables_before_the_file(bennu: Shell) -> None:
    """Each source is heard where no stronger one speaks."""
    file = config(bennu.folder, f'app = "{BANK}"\nlog = "sqlite:from-file"\npartitions = 4\n')
    assert len(made(bennu, "--config", file)) == 4
    assert (bennu.folder / "from-file").is_dir()
    bennu.setenv("BENNU_PARTITIONS", "3")
    bennu.setenv("BENNU_LOG", "sqlite:from-variable")
    assert len(made(bennu, "--config", file)) == 3
    assert len(made(bennu, "--config", file, "--partitions", 2, "--log", "sqlite:from-flag")) == 2
    assert (bennu.folder / "from-variable").is_dir()
    assert (bennu.folder / "from-flag").is_dir()


def test_a_variable_names_the_file(bennu: Shell) -> None:
    """BENNU_CONFIG is --config, and a flag replaces it."""
    bennu.setenv("BENNU_CONFIG", str(config(bennu.folder, f'app = "{BANK}"\nlog = "sqlite:a"\npartitions = 2')))
    assert len(made(bennu)) == 2
    other = bennu.folder / "other.toml"
    other.write_text(f'app = "{BANK}"\nlog = "sqlite:a"\npartitions = 3')
    assert len(made(bennu, "--config", other)) == 3


def test_the_table_of_the_server_is_read_and_the_others_are_passed_over(bennu: Shell) -> None:
    """One file serves all: what stands in [cserver] is for the command line too, a database's URL is not."""
    text = f'app = "{BANK}"\nlog = "sqlite:x"\n[cserver]\npartitions = 2\n[qserver]\npostgres = "postgresql://x"\n'
    assert len(made(bennu, "--config", config(bennu.folder, text))) == 2


@pytest.mark.parametrize(
    "command", [["topics", "list", "--app", BANK], ["journal", "verify", "--app", BANK], ["version"], ["stack", "down"]]
)
def test_a_misspelt_variable_is_an_error(bennu: Shell, command: list[str]) -> None:
    """Whatever is asked for: the name, and the one that was probably meant."""
    bennu.setenv("BENNU_PARTITONS", "2")
    told = bennu(*command)
    assert (told.code, told.out) == (78, "")
    assert told.error == "no variable is called BENNU_PARTITONS; did you mean BENNU_PARTITIONS?"


def test_help_is_there_also_with_a_misspelt_variable(bennu: Shell) -> None:
    """Whoever looks for the right name must find it."""
    bennu.setenv("BENNU_PARTITONS", "2")
    told = bennu("topics", "create", "--help")
    assert (told.code, told.err) == (0, "")
    assert "BENNU_PARTITIONS" in told.out


@pytest.mark.parametrize("name", ["demo", "bench"])
def test_a_program_refuses_a_misspelt_variable(tmp_path: Path, name: str) -> None:
    """Also those that are told everything by flags: somebody who sets a variable expects something of it."""
    told = run([name, *(["commands"] if name == "bench" else [])], folder=tmp_path, environ={"BENNU_LOGG": "sqlite"})
    assert (told.code, told.out) == (78, "")
    assert told.error == "no variable is called BENNU_LOGG; did you mean BENNU_LOG?"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("partition = 2", "no key is called partition; did you mean partitions?"),
        ("[cserver]\ngrpcs = ''", "no key is called cserver.grpcs; did you mean cserver.grpc?"),
        ("cserver = 1", "cserver must be a table, written [cserver]"),
        ("partitions = ", "bennu.toml"),
    ],
)
def test_a_wrong_file_is_an_error(bennu: Shell, text: str, said: str) -> None:
    """The message names the file and the key."""
    told = bennu("topics", "list", "--app", BANK, "--config", config(bennu.folder, text))
    assert told.code == 78
    assert said in told.error
    assert "bennu.toml: " in told.error


def test_a_file_that_is_not_there_is_an_error(bennu: Shell) -> None:
    """A file that is named is wanted."""
    told = bennu("topics", "list", "--app", BANK, "--config", "missing.toml")
    assert told.code == 78
    assert "missing.toml" in told.error


def test_a_key_of_the_log_is_read_from_its_file(bennu: Shell) -> None:
    """Credentials come by variable or file and reach the log: the embedded one says that it takes none."""
    (bennu.folder / "key").write_text("sesame\n")
    bennu.setenv("BENNU_LOG_ACCESS_KEY_FILE", str(bennu.folder / "key"))
    told = bennu("topics", "list", "--app", BANK)
    assert told.code == 78
    assert told.error == "credentials are for rocketmq: only"
    bennu.setenv("BENNU_LOG_ACCESS_KEY", "open")
    assert "both given; one must go" in bennu("topics", "list", "--app", BANK).error


@pytest.mark.parametrize(
    ("app", "said"),
    [
        ("bank.app", "expected module:attribute, such as bank.app:app, not 'bank.app'"),
        ("bank.app:nope", "module bank.app has no attribute nope"),
        ("bank.app:OpenAccount", "not a bennu.domain.App"),
        ("nowhere.app:app", "no module nowhere; is its folder on PYTHONPATH?"),
    ],
)
@pytest.mark.parametrize(
    "command",
    [["topics", "create"], ["topics", "list"], ["journal", "verify"], ["journal", "dump", "--topic", "x"], ["dev"]],
)
def test_an_app_that_is_none_is_an_error(bennu: Shell, command: list[str], app: str, said: str) -> None:
    """Every command that takes --app says what is wrong with the name."""
    told = bennu(*command, "--app", app)
    assert (told.code, told.out) == (78, "")
    assert said in told.error


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("kafka:x", "no log is called 'kafka'; known are memory:"),
        ("sqlite", None),
        ("sqlite://host/path", "would name a host"),
        ("rocketmq://127.0.0.1:8080?namesrv=127.0.0.1", "127.0.0.1"),
    ],
)
def test_a_log_that_is_none_is_an_error(bennu: Shell, url: str, said: str | None) -> None:
    """The message says how a log is named; the short name is one."""
    told = bennu("topics", "list", "--app", BANK, "--log", url)
    if said is None:
        assert (told.code, told.err) == (0, "")
    else:
        assert (told.code, told.out) == (78, "")
        assert said in told.error


def test_a_log_that_is_away_is_told_beside_the_output(bennu: Shell) -> None:
    """Nothing but what was asked for may come on standard output, for programs read it."""
    port = free_port()
    told = bennu("topics", "list", "--json", "--app", BANK, "--log", f"rocketmq://{HOST}:{port}?namesrv={HOST}:{port}")
    assert (told.code, told.out) == (1, "")
    assert f"{HOST}:{port}" in told.err


def test_an_app_of_the_current_folder_is_found(tmp_path: Path) -> None:
    """As by `python -m`: a domain need not be installed to be looked at."""
    (tmp_path / "shop.py").write_text("from bank.app import app\n")
    told = run(["topics", "create", "--app", "shop:app", "--json"], folder=tmp_path)
    assert told.code == 0, told.err
    assert (tmp_path / ".bennu" / "log" / "bank-events-0.sqlite").is_file()
