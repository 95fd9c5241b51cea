"""Settings, read once at start: flags over `BENNU_…` variables over a TOML file over defaults.

    class CServerSettings(ServiceSettings):
        service = "cserver"
        grpc: str = Field("127.0.0.1:50051", description="address of the gRPC port")

    settings = load(CServerSettings, sys.argv[1:], os.environ)

In the file, keys at the top are for every service and a table `[cserver]` is for that one.  An unknown flag, variable
or key is an error that names it.  An empty variable counts as absent, because compose files can't leave one out.
"""

import secrets
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bennu.errors import BadSettings
from bennu.ops import flags, names
from bennu.ops.limits import SECRET_FILE_BYTES

PREFIX = "BENNU_"
SHORT_LOGS = {
    "sqlite": "sqlite:.bennu/log",
    "rocketmq": "rocketmq://127.0.0.1:8080?namesrv=127.0.0.1:9876",
}


class ServiceSettings(BaseSettings):
    """What every service is told.  A subclass names its service and adds fields; `names.py` must know them."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")
    service: ClassVar[str]

    app: str = Field(description="the app, as module:attribute, such as bank.app:app")
    log: str = Field("sqlite", description="URL of the log, or one of the short names sqlite and rocketmq")
    log_access_key: SecretStr | None = Field(None, description="access key of the log")
    log_secret_key: SecretStr | None = Field(None, description="secret key of the log")
    partitions: int = Field(1, ge=1, le=1024, description="partitions of the app; fixed when its journals are created")
    ops: str = Field("127.0.0.1:0", description="address of the operations port: metrics, health, readiness")
    insecure_bind: bool = Field(False, description="allow plaintext ports on addresses other than loopback")
    node: str = Field("", description="name of this process among its peers; default: service and a random suffix")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level of a log line")

    @field_validator("log")
    @classmethod
    def _expand(cls, log: str) -> str:
        return SHORT_LOGS.get(log, log)

    @field_validator("node")
    @classmethod
    def _name(cls, node: str) -> str:
        return node or f"{cls.service}-{secrets.token_hex(4)}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_others: PydanticBaseSettingsSource,
        **_named: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` passes: nothing is read from the process behind our back."""
        return (init_settings,)

    def secret_values(self) -> list[str]:
        """Texts that no log line may contain."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return [value.get_secret_value() for value in values if isinstance(value, SecretStr)]

    def log_credentials(self) -> dict[str, str]:
        """Keyword arguments for `bennu.log.open`."""
        keys = {"access_key": self.log_access_key, "secret_key": self.log_secret_key}
        return {name: key.get_secret_value() for name, key in keys.items() if key is not None}


S = TypeVar("S", bound=ServiceSettings)


class Given(NamedTuple):
    """A value and where it stood, for messages."""

    value: object
    where: str


def load(kind: type[S], argv: Sequence[str], environ: Mapping[str, str]) -> S:
    """The settings of one service.  Raises `BadSettings` naming the flag, variable or key at fault."""
    missing = set(kind.model_fields) - names.known_to(kind.service)
    assert not missing, f"bennu/ops/names.py does not list {missing} for {kind.service}"
    from_flags = flags.parse(kind, argv)
    from_environ = _from_environ(environ)
    config = from_flags.pop("config", None) or environ.get(f"{PREFIX}CONFIG")
    given = _from_file(kind, str(config)) if config else {}
    _put(given, from_environ)
    _put(given, {name: Given(value, flags.flag_of(name)) for name, value in from_flags.items()})
    return _validated(kind, _with_secrets(given))


def _put(given: dict[str, Given], stronger: dict[str, Given]) -> None:
    """A secret itself and the file that holds it are one setting: the stronger source replaces either."""
    for name in stronger:
        given.pop(name.removesuffix("_file"), None)
        given.pop(f"{name}_file", None)
    given.update(stronger)


def _from_environ(environ: Mapping[str, str]) -> dict[str, Given]:
    given: dict[str, Given] = {}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if variable != variable.upper() or name not in names.known() | names.NOT_A_SERVICES:
            raise _unknown(variable, (f"{PREFIX}{known.upper()}" for known in names.known()), "no variable is called")
        if value and name not in names.NOT_A_SERVICES:
            given[name] = Given(value, variable)
    return given


def _from_file(kind: type[ServiceSettings], path: str) -> dict[str, Given]:
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadSettings(f"{path}: {error}") from error
    tables = {name: content.pop(name) for name in names.OWN if name in content}
    _check_keys(path, "", content, names.known())
    for service, table in tables.items():
        if not isinstance(table, dict):
            raise BadSettings(f"{path}: {service} must be a table, written [{service}]")
        _check_keys(path, f"{service}.", table, names.known_to(service))
    given = {name: Given(value, f"{path}: {name}") for name, value in content.items()}
    own = tables.get(kind.service, {})
    _put(given, {name: Given(value, f"{path}: {kind.service}.{name}") for name, value in own.items()})
    return given


def _check_keys(path: str, table: str, content: Mapping[str, object], known: frozenset[str]) -> None:
    for name in content:
        if name not in known:
            raise _unknown(f"{table}{name}", (f"{table}{other}" for other in known), f"{path}: no key is called")


def _unknown(name: str, known: Iterable[str], complaint: str) -> BadSettings:
    close = get_close_matches(name, sorted(known), 1)
    return BadSettings(f"{complaint} {name}" + (f"; did you mean {close[0]}?" if close else ""))


def _with_secrets(given: dict[str, Given]) -> dict[str, Given]:
    """Each NAME_file replaced by the secret that stands in that file."""
    found = dict(given)
    for name in names.SECRETS:
        if (file := found.pop(f"{name}_file", None)) is not None:
            if name in given:
                raise BadSettings(f"{given[name].where} and {file.where} are both given; one must go")
            found[name] = Given(_read_secret(file), file.where)
    return found


def _read_secret(file: Given) -> str:
    path = Path(str(file.value))
    try:
        if path.stat().st_size > SECRET_FILE_BYTES:
            raise BadSettings(f"{file.where}: {path} is too large for a secret")
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(f"{file.where}: {error}") from error


def _validated(kind: type[S], given: dict[str, Given]) -> S:
    try:
        return kind(**{name: value for name, (value, _) in given.items() if name in kind.model_fields})  # type: ignore[arg-type]  # checked right here
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = str(first["loc"][0]) if first["loc"] else kind.service
        if first["type"] == "missing":
            raise BadSettings(f"{name} is missing: {_ways(name)}") from None
        where = given[name].where if name in given else name
        raise BadSettings(f"{where}: {first['msg']}") from None


def _ways(name: str) -> str:
    variable = f"{PREFIX}{name.upper()}"
    if name in names.SECRETS:
        return f"set {variable} or {variable}_FILE"
    return f"give {flags.flag_of(name)}, set {variable}, or write {name} in the file of {flags.flag_of('config')}"
