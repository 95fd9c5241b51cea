"""What a `rocketmq:` URL says, as a checked value."""

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from bennu.errors import BadSettings

_KEYS = ("namesrv", "mode", "broker")


@dataclass(frozen=True)
class Address:
    """A host and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Credentials:
    """RocketMQ ACL: the key's name and its secret, which no representation shows."""

    access_key: str
    secret_key: str = field(repr=False)


@dataclass(frozen=True)
class RocketmqSettings:
    """Where the parts of a RocketMQ 5 are."""

    proxy: Address
    local: bool = False
    """The broker runs inside the proxy: reads go to the broker's own port."""
    namesrv: Address | None = None
    broker: Address | None = None
    credentials: Credentials | None = field(default=None, repr=False)

    @property
    def reads_at(self) -> Address:
        """The remoting port at which records are read."""
        return self.broker if self.local and self.broker is not None else self.proxy


def parse(url: str, *, access_key: str | None, secret_key: str | None) -> RocketmqSettings:
    """Raises `BadSettings`, without ever repeating a secret."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise BadSettings("credentials are given apart from the log's URL: access_key and secret_key")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(set(query) - set(_KEYS)):
        raise BadSettings(f"rocketmq: knows no setting {unknown[0]!r}; known are {', '.join(_KEYS)}")
    if parts.path.strip("/") or parts.fragment:
        raise BadSettings("rocketmq: takes HOST:PORT and settings, no path")
    mode = query.get("mode", "cluster")
    if mode not in ("cluster", "local"):
        raise BadSettings(f"rocketmq: mode is cluster or local, not {mode!r}")
    if mode == "local" and "broker" not in query:
        raise BadSettings("rocketmq: mode=local needs broker=HOST:PORT, the broker's own port, to read from")
    if (access_key is None) != (secret_key is None):
        raise BadSettings("rocketmq: access_key and secret_key come together")
    return RocketmqSettings(
        proxy=parse_address("the proxy", parts.netloc),
        local=mode == "local",
        namesrv=parse_address("namesrv", query["namesrv"]) if "namesrv" in query else None,
        broker=parse_address("broker", query["broker"]) if "broker" in query else None,
        credentials=Credentials(access_key, secret_key) if access_key and secret_key else None,
    )


def parse_address(name: str, text: str) -> Address:
    """Raises `BadSettings`, which says whose address it was."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port:
        raise BadSettings(f"rocketmq: {name} is given as HOST:PORT, this is {text!r}")
    return Address(host, port)
