"""Postgres as QServer meets it: bounded connections, a deadline on everything, and patience when it is away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import NoReturn, TypeVar

from asyncpg import exceptions as pg
from prometheus_client import Counter

from bennu.errors import BadSettings
from bennu.ops.metrics import Metrics
from bennu.ops.patience import Patience
from bennu.ops.postgres import AWAY, MISTAKEN, Connection, Opening, Servers
from bennu.ops.readiness import Readiness
from bennu_qserver.errors import ProjectionFailed
from bennu_qserver.limits import (
    ANSWER_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    IDLE_IN_TRANSACTION_MS,
    PING_S,
    POOL_CONNECTIONS,
    STATEMENT_TIMEOUT_S,
    WISH_LOCK_MS,
)
from bennu_qserver.sessions import Sessions

__all__ = ["READY", "Connection", "Database", "open_database", "opening", "refusal", "savepoint"]

T = TypeVar("T")

READY = "postgres"

_LIMIT_LOCKS = """
SELECT set_config('lock_timeout', least($1, setting::int / 2)::text, true)
FROM pg_settings WHERE name = 'deadlock_timeout'
"""

CONTENT_REFUSED = (
    pg.CardinalityViolationError,  # plain SQL: a row twice, or several where one is wanted
    pg.DataError,
    pg.IntegrityConstraintViolationError,
    pg.ProgramLimitExceededError,  # a text too long for an index
)
"""The rows themselves are at fault."""


class Waits:
    """The transactions that wait for Postgres.  While there is one, readiness says why, whatever the others do."""

    def __init__(self, readiness: Readiness, retries: Counter) -> None:
        self._readiness = readiness
        self._retries = retries
        self._problems: dict[object, str] = {}

    def add(self, who: object, problem: str) -> None:
        """It waits, for this reason."""
        self._problems[who] = problem
        self._retries.inc()
        self._readiness.unmet(READY, f"waiting for Postgres: {problem}")

    def remove(self, who: object, *, succeeded: bool) -> None:
        """It does not wait any more."""
        self._problems.pop(who, None)
        for problem in self._problems.values():
            return self._readiness.unmet(READY, f"waiting for Postgres: {problem}")
        if succeeded:
            self._readiness.met(READY)
        return None


class Database:
    """Runs transactions until they succeed."""

    def __init__(self, sessions: Sessions, waits: Waits) -> None:
        self._sessions = sessions
        self._waits = waits

    def beside(self, *, connections: int) -> "Database":
        """The same database, by connections of its own, which this one's `terminate` cuts, too."""
        return Database(self._sessions.beside(most=connections), self._waits)

    def terminate(self) -> None:
        """Cut all connections: what is under way is rolled back, also by a Postgres that no longer answers."""
        self._sessions.terminate()

    @contextmanager
    def waiting(self, problem: str) -> Iterator[None]:
        """Something waits for Postgres until the block ends, though transactions succeed meanwhile."""
        who = object()
        self._waits.add(who, problem)
        try:
            yield
        finally:
            self._waits.remove(who, succeeded=False)

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
        async with self._sessions.lend() as connection:
            return await _in_transaction(connection, work)

    async def persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """What `attempt` returns; it is called again, for ever, while Postgres is away.

        So an earlier attempt may have been committed without our hearing of it.  Raises `BadSettings` or
        `ProjectionFailed` for what no repetition helps, and what `attempt` itself raises.
        """
        who, succeeded = Patience("Postgres"), False
        try:
            while True:
                if (done := await self._attempted(attempt, who)) is not None:
                    succeeded = True
                    return done[0]
        finally:
            self._waits.remove(who, succeeded=succeeded)

    async def _attempted(self, attempt: Callable[[], Awaitable[T]], patience: Patience) -> tuple[T] | None:
        """None: not now, and a while has gone by."""
        try:
            return (await attempt(),)
        except MISTAKEN as error:
            raise BadSettings(f"postgres: {error}") from error
        except (*AWAY, pg.ProgramLimitExceededError) as error:  # outside a row: the queue of notices is full
            if isinstance(error, ValueError) and not isinstance(error, OSError):  # a value that the driver can't encode
                raise ProjectionFailed(f"no value for Postgres: {error}") from error
            problem = f"{type(error).__name__}: {error}"
            self._waits.add(patience, problem)
            await patience.wait(problem)
            return None
        except pg.PostgresError as error:
            raise ProjectionFailed(refusal(error)) from error


async def _in_transaction(connection: Connection, work: Callable[[Connection], Awaitable[T]]) -> T:
    transaction = connection.transaction()
    await transaction.start()
    try:
        result = await work(connection)
        await transaction.commit()
    except TimeoutError:
        connection.terminate()  # a server that does not answer would not answer a rollback
        raise
    finally:
        if not connection.is_closed() and connection.is_in_transaction():
            await transaction.rollback()
    return result


@asynccontextmanager
async def savepoint(connection: Connection) -> AsyncIterator[None]:
    """A part of the transaction, which is undone alone if the block fails."""
    async with connection.transaction():
        try:
            yield
        except TimeoutError:
            connection.terminate()  # else undoing would be waited for as long again
            raise


async def limit_locks(connection: Connection) -> None:
    """In this transaction wait for locks only for so short a time that it is never a reader or a loop who gives way."""
    await connection.execute(_LIMIT_LOCKS, WISH_LOCK_MS)


async def _ping(connection: Connection) -> None:
    await connection.execute("SELECT 1")


def refusal(error: pg.PostgresError) -> str:
    """What Postgres says, with the table and column if it names them."""
    named = {what: getattr(error, f"{what}_name", None) for what in ("schema", "table", "column", "constraint")}
    places = [f"{what} {name}" for what, name in named.items() if name]
    details = [str(getattr(error, "detail", None) or ""), ", ".join(places)]
    return "; ".join(filter(None, [f"Postgres refused: {error}", *details]))


@asynccontextmanager
async def open_database(dsn: str, *, name: str, metrics: Metrics, readiness: Readiness) -> AsyncIterator[Database]:
    """Nothing is asked of Postgres before the first transaction, which may yet find the URL to be none."""
    servers = Servers(dsn)
    retries = metrics.counter("bennu_qserver_postgres_retries_total", "Transactions that had to be repeated.")
    sessions = Sessions(lambda: servers.connect(opening(name)), most=POOL_CONNECTIONS)
    database = Database(sessions, Waits(readiness, retries))
    try:
        yield database
    finally:
        database.terminate()  # waiting for a Postgres that is away would hang


def opening(name: str) -> Opening:
    """How each connection of QServer is opened, and what its session is set to."""
    settings = {
        "application_name": f"bennu {name}",
        "jit": "off",  # compiling costs more than our short statements take
        "statement_timeout": str(int(STATEMENT_TIMEOUT_S * 1000)),
        "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_MS),
        # What waits for others inside a transaction, as a switch does, must see what they commit meanwhile.
        "default_transaction_isolation": "read committed",
    }
    return Opening(CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S, settings)
