"""Postgres as any part of Bennu meets it: how a connection is opened, what its errors mean, and a URL's port."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias
from urllib.parse import parse_qsl, urlsplit

import asyncpg
from asyncpg import exceptions as pg

from bennu.cancellation import is_cancelled
from bennu.errors import BadSettings

MISTAKEN = (
    pg.ClientConfigurationError,
    pg.InvalidAuthorizationSpecificationError,
    pg.InvalidCatalogNameError,
    pg.InsufficientPrivilegeError,
)
"""The settings or the grants are wrong: an operator must act."""

AWAY = (
    OSError,  # refused, reset, and TimeoutError
    pg.InterfaceError,  # the connection was closed under us
    pg.InternalClientError,
    pg.PostgresConnectionError,
    pg.OperatorInterventionError,  # terminated, shutting down, starting up, cancelled
    pg.InsufficientResourcesError,  # connections, memory, disk
    pg.InvalidTransactionStateError,  # read-only after a failover; ended for being idle
    pg.ObjectNotInPrerequisiteStateError,  # locks not available
    pg.TransactionRollbackError,  # serialization failure, deadlock
    pg.PostgresSystemError,  # its disk
    pg.InvalidCachedStatementError,  # a newer version has changed a table; the next attempt prepares it anew
)
"""The same transaction may succeed later."""

LEFT = (
    OSError,
    pg.InterfaceError,
    pg.InternalClientError,
    pg.PostgresConnectionError,
    pg.AdminShutdownError,
    pg.CrashShutdownError,
    pg.CannotConnectNowError,
    pg.ReadOnlySQLTransactionError,
)
"""Heard on one connection, it is true of the others to the same server, too: look for the server that takes writes."""


@contextmanager
def cancellation_first() -> Iterator[None]:
    """Around transactions: who was cancelled in one hears that, and not what rolling back said after it.

    About one in 200 fails to, as what was cancelled may have been BEGIN or COMMIT itself; and who takes that for a
    Postgres that is away would go on for ever.
    """
    try:
        yield
    except (*AWAY, pg.PostgresError) as error:
        if is_cancelled():
            raise asyncio.CancelledError from error
        raise


SCHEMA_LOCK = 0x62656E6E75  # "bennu"
"""Advisory lock of whoever makes tables of Bennu's own."""

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_ATTRIBUTE = "target_session_attrs"
_WRITABLE = "read-write"
_FOR_WRITERS = ("any", "primary", _WRITABLE)


class NoServer(ConnectionError):
    """No host of the URL can be used now; each is named with what it said, and without secrets."""


class Opening(NamedTuple):
    """How a connection is opened."""

    timeout_s: float
    """For all hosts together."""
    command_timeout_s: float
    settings: Mapping[str, str]
    """Of the session; they go before those of the role and the database."""


class Servers:
    """The hosts that a URL names, of which one takes writes: `postgresql://user:password@one,other:5433/name`.

    Each host has its own part of the time, because one that was switched off does not even refuse.
    """

    def __init__(self, dsn: str) -> None:
        """Raises `BadSettings` for a port that is none, and for a URL that wants servers which take no writes."""
        check_ports(dsn)
        self._hosts = _hosts(dsn)
        wanted = dict(parse_qsl(urlsplit(dsn).query)).get(_ATTRIBUTE)
        if wanted in ("standby", "prefer-standby", "read-only"):
            raise BadSettings(f"postgres: {_ATTRIBUTE}={wanted} in the URL: Bennu writes, so leave it out")
        self._attribute = None if wanted else _WRITABLE

    async def connect(self, opening: Opening) -> Connection:
        """To the host that takes writes; the one that did so last is asked first.

        Raises what asyncpg raises, `NoServer` among it.
        """
        return await self._first(opening, self._attribute)

    async def connect_anyhow(self, opening: Opening) -> Connection:
        """To the host that takes writes; else to any that can be read, for those who look while there is trouble."""
        try:
            return await self._first(opening, self._attribute)
        except NoServer:
            return await self._first(opening, "any")

    async def _first(self, opening: Opening, attribute: str | None) -> Connection:
        problems: list[tuple[str, Exception]] = []
        for host in list(self._hosts):
            try:
                connection = await self._connect(host, opening, attribute)
            except (*AWAY, *MISTAKEN) as problem:
                problems.append((urlsplit(host).netloc.rpartition("@")[2], problem))
            else:
                self._hosts.remove(host)
                self._hosts.insert(0, host)
                return connection
        raise _of_all(problems)

    async def _connect(self, dsn: str, opening: Opening, attribute: str | None) -> Connection:
        try:
            return await asyncpg.connect(
                dsn,
                timeout=opening.timeout_s / len(self._hosts),
                command_timeout=opening.command_timeout_s,
                server_settings=dict(opening.settings),
                target_session_attrs=attribute,  # type: ignore[arg-type]  # by its name is as good
            )
        except pg.TargetServerAttributeNotMatched as problem:
            raise NoServer("it takes no writes: a standby, or default_transaction_read_only is on") from problem


def _hosts(dsn: str) -> list[str]:
    """A URL for each."""
    parts = urlsplit(dsn)
    user, at, hosts = parts.netloc.rpartition("@")
    if "," not in hosts:
        return [dsn]
    return [parts._replace(netloc=f"{user}{at}{host}").geturl() for host in hosts.split(",")]


def _of_all(problems: Sequence[tuple[str, Exception]]) -> Exception:
    """One error for all hosts: a mistake only if all say so, since a host that is set up anew may say anything."""
    if len(problems) == 1 or all(isinstance(problem, MISTAKEN) for _, problem in problems):
        return problems[0][1]
    return NoServer("; ".join(f"{host}: {type(problem).__name__}: {problem}" for host, problem in problems))


def check_ports(dsn: str) -> None:
    """Raise `BadSettings` unless the port of each host is one.  It isn't shown: it may be half of a password."""
    for host in urlsplit(dsn).netloc.rpartition("@")[2].split(","):
        port = host.rpartition("]")[2].rpartition(":")[2] if ":" in host.rpartition("]")[2] else "0"
        if not (port.isdecimal() and int(port) < 2**16):
            raise BadSettings("postgres: the port in the URL is no number below 65536")
