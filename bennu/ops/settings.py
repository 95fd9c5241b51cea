"""Settings, read once at start: flags over `BENNU_…` variables over a TOML file over defaults.

    class CServerSettings(ServiceSettings):
        service = "cserver"
        grpc: str = Field("127.0.0.1:50051", description="address of the gRPC port")

    settings = load(CServerSettings, sys.argv[1:], os.environ)

An unknown flag, variable or key is an error that names it.  `sources.py` has what is not a flag.
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from bennu.errors import BadSettings
from bennu.ops import flags, names, sources
from bennu.ops.sources import PREFIX, SHORT_LOGS, Given
from bennu.ops.topics import MAX_PARTITIONS


class ServiceSettings(BaseModel):
    """What every service is told.  A subclass names its service and adds fields; `names.py` must know them."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
    service: ClassVar[str]

    app: str = Field(description="the app, as module:attribute, such as bank.app:app")
    log: str = Field("sqlite", description="URL of the log, or one of the short names sqlite and rocketmq")
    log_access_key: SecretStr | None = Field(None, description="access key of the log")
    log_secret_key: SecretStr | None = Field(None, description="secret key of the log")
    archive: str = Field("", description="folder of the archive: records that the log no longer keeps are read from it")
    partitions: int = Field(
        1, ge=1, le=MAX_PARTITIONS, description="partitions of the app; fixed when its journals are created"
    )
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

    def secret_values(self) -> list[str]:
        """Texts that no log line may contain."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return [value.get_secret_value() for value in values if isinstance(value, SecretStr)]

    @property
    def log_is_embedded(self) -> bool:
        """Whether the log is ours alone, and so are its topics; a broker's are made by an operator."""
        return not self.log.startswith("rocketmq:")

    def log_credentials(self) -> dict[str, str]:
        """Keyword arguments for `bennu.log.open`."""
        keys = {"access_key": self.log_access_key, "secret_key": self.log_secret_key}
        return {name: key.get_secret_value() for name, key in keys.items() if key is not None}


S = TypeVar("S", bound=ServiceSettings)


def load(kind: type[S], argv: Sequence[str], environ: Mapping[str, str]) -> S:
    """The settings of one service.  Raises `BadSettings` naming the flag, variable or key at fault."""
    missing = set(kind.model_fields) - names.known_to(kind.service)
    assert not missing, f"bennu/ops/names.py does not list {missing} for {kind.service}"
    from_flags = flags.parse(kind, argv)
    config = from_flags.pop("config", None)
    given = sources.told(environ, str(config) if config else None, service=kind.service)
    sources.put(given, {name: Given(value, flags.flag_of(name)) for name, value in from_flags.items()})
    return _validated(kind, sources.with_secrets(given))


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
