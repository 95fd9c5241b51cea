"""Postgres as QServer meets it: a bounded pool, a deadline on everything, and patience when it is away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import NoReturn, TypeAlias, TypeVar

import asyncpg
from asyncpg import exceptions as pg
from asyncpg.pool import PoolConnectionProxy
from prometheus_client import Counter

from bennu.domain import TIMESTAMP
from bennu.domain.projection import Value
from bennu.errors import BadSettings
from bennu.ops.metrics import Metrics
from bennu.ops.patience import Patience
from bennu.ops.postgres import AWAY, MISTAKEN, check_ports
from bennu.ops.readiness import Readiness
from bennu_qserver.errors import EventFault, ProjectionFailed
from bennu_qserver.limits import (
    ACQUIRE_TIMEOUT_S,
    COMMAND_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    IDLE_IN_TRANSACTION_MS,
    PING_S,
    POOL_CONNECTIONS,
)
from bennu_qserver.plain_calls import Owned
from bennu_qserver.rows import Write
from bennu_qserver.tables import CATALOG_NAMES
from bennu_qserver.values import EARLIEST_US, LATEST_US

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
T = TypeVar("T")

READY = "postgres"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

CONTENT_REFUSED = (
    pg.CardinalityViolationError,  # plain SQL: a row twice, or several where one is wanted
    pg.DataError,
    pg.IntegrityConstraintViolationError,
    pg.ProgramLimitExceededError,  # a text too long for an index
)
"""The rows themselves are at fault."""


class Database:
    """Runs transactions until they succeed."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", readiness: Readiness, *, retries: Counter) -> None:
        self._pool = pool
        self._readiness = readiness
        self._retries = retries

    def terminate(self) -> None:
        """Cut all connections: what is under way is rolled back, also by a Postgres that no longer answers."""
        self._pool.terminate()

    async def watch(self) -> NoReturn:
        """Ask Postgres again and again, so that readiness tells of its absence also when there is nothing to write."""
        while True:
            await self.run(_ping)
            await asyncio.sleep(PING_S)

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """What `work` returns, in a transaction of its own; see `persist`."""

        return await self.persist(lambda: self.once(work))

    async def once(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """What `work` returns, in a transaction of its own, tried once.  Raises what asyncpg raises."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection, connection.transaction():
            return await work(connection)

    async def persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """What `attempt` returns; it is called again, for ever, while Postgres is away.

        So an earlier attempt may have been committed without our hearing of it.  Raises `BadSettings` or
        `ProjectionFailed` for what no repetition helps, and what `attempt` itself raises.
        """
        patience = Patience("Postgres")
        while True:
            try:
                result = await attempt()
            except MISTAKEN as error:
                raise BadSettings(f"postgres: {error}") from error
            except (*AWAY, pg.ProgramLimitExceededError) as error:  # outside a row: the queue of notices is full
                if is_cancelled():  # and rolling back failed, whose error has taken the place of the cancellation
                    raise asyncio.CancelledError from error
                if isinstance(error, ValueError):  # a value that the driver can't encode
                    raise ProjectionFailed(f"no value for Postgres: {error}") from error
                self._retries.inc()
                self._readiness.unmet(READY, f"waiting for Postgres: {type(error).__name__}: {error}")
                await patience.wait(f"{type(error).__name__}: {error}")
            except pg.PostgresError as error:
                raise ProjectionFailed(refusal(error)) from error
            else:
                self._readiness.met(READY)
                return result


def is_cancelled() -> bool:
    """Whether this task was told to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _ping(connection: Connection) -> None:
    await connection.execute("SELECT 1")


async def execute(connection: Connection, write: Write) -> None:
    """Write rows.  Raises `EventFault`, naming table, topic and events, when Postgres refuses their content."""
    try:
        if write.owned is None:
            await connection.execute(write.sql, *write.arrays)
        else:
            await _call(connection, write, write.owned)
    except CONTENT_REFUSED as error:
        raise EventFault(f"{write.where}: {refusal(error)}") from error


async def _call(connection: Connection, write: Write, owned: Owned) -> None:
    prepared = await connection.prepare(write.sql)
    values = [_bound(kind.name, value) for kind, value in zip(prepared.get_parameters(), write.arrays, strict=True)]
    rows = await prepared.fetch(*values)
    if fault := owned.fault([row["owner"] for row in rows]):
        raise EventFault(f"{write.where}: {fault}")


def _bound(kind: str, value: Value) -> Value | datetime:
    """A time is in microseconds, as everywhere in rules."""
    if kind not in (TIMESTAMP, CATALOG_NAMES[TIMESTAMP]) or not isinstance(value, int):
        return value
    if not EARLIEST_US <= value <= LATEST_US:
        raise pg.DataError(f"{value} is no time in microseconds")
    return EPOCH + timedelta(microseconds=value)


def refusal(error: pg.PostgresError) -> str:
    """What Postgres says, with the table and column if it names them."""
    named = {what: getattr(error, f"{what}_name", None) for what in ("schema", "table", "column", "constraint")}
    places = [f"{what} {name}" for what, name in named.items() if name]
    details = [str(getattr(error, "detail", None) or ""), ", ".join(places)]
    return "; ".join(filter(None, [f"Postgres refused: {error}", *details]))


async def _keep_session(_connection: object) -> None:
    """We leave nothing behind in a session, so returning one to the pool needs no round trip."""


@asynccontextmanager
async def open_database(dsn: str, *, name: str, metrics: Metrics, readiness: Readiness) -> AsyncIterator[Database]:
    """Nothing is asked of Postgres before the first transaction, which may yet find the URL to be none."""
    check_ports(dsn)
    try:
        pool = asyncpg.create_pool(
            dsn,
            min_size=0,
            max_size=POOL_CONNECTIONS,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
            reset=_keep_session,
            server_settings=server_settings(name),
        )
        await pool
    except MISTAKEN as error:
        raise BadSettings(f"postgres: {error}") from error
    retries = metrics.counter("bennu_qserver_postgres_retries_total", "Transactions that had to be repeated.")
    try:
        yield Database(pool, readiness, retries=retries)
    finally:
        pool.terminate()  # waiting for a Postgres that is away would hang


def server_settings(name: str) -> dict[str, str]:
    """What every session of QServer is set to."""
    return {
        "application_name": f"bennu {name}",
        "jit": "off",  # compiling costs more than our short statements take
        "statement_timeout": str(int(COMMAND_TIMEOUT_S * 1000)),
        "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_MS),
    }
