"""What Postgres says is either worth a repetition, an operator's matter, or the end of the projection."""

import asyncio

import pytest

from bennu.errors import BadSettings, Final
from bennu.ops.metrics import Metrics
from bennu.ops.postgres import AWAY
from bennu.ops.readiness import Readiness
from bennu_qserver.database import READY, Connection, open_database, savepoint
from bennu_qserver.errors import ProjectionFailed
from tests.qserver.serving import TIMEOUT_S, connected, until

pytestmark = pytest.mark.real

PASSING = {
    "40001": "serialization failure",
    "40P01": "deadlock",
    "57P01": "shut down by an administrator",
    "57014": "statement timeout",
    "53100": "disk full",
    "53300": "too many connections",
    "25006": "read-only after a failover",
    "55P03": "lock not available",
    "58030": "input or output failed",
}
LASTING: dict[str, type[Final]] = {
    "42501": BadSettings,  # no grant
    "23505": ProjectionFailed,  # duplicate key
    "42P01": ProjectionFailed,  # no such table
    "22003": ProjectionFailed,  # out of range
}


class Saying:
    """Work that fails as Postgres does, so many times, and then succeeds; what readiness said meanwhile."""

    def __init__(self, code: str, *, times: int) -> None:
        self.code, self.times = code, times
        self.readiness = Readiness()
        self.seen: list[bool] = []

    async def work(self, connection: Connection) -> str:
        """As a transaction would."""
        self.seen.append(self.readiness.ready)
        await connection.execute("CREATE TABLE attempts (number int)")
        if len(self.seen) <= self.times:
            await connection.execute(f"DO $$ BEGIN RAISE EXCEPTION 'said' USING ERRCODE = '{self.code}'; END $$")
        return "done"

    async def run(self, dsn: str) -> str:
        """In transactions, until it succeeds."""
        self.readiness.declare(READY)
        async with open_database(dsn, name="test", metrics=Metrics(), readiness=self.readiness) as database:
            return await database.run(self.work)


@pytest.mark.parametrize("code", PASSING, ids=PASSING.values())
def test_what_passes_is_repeated(database: str, code: str) -> None:
    """A transaction that may succeed later is repeated as a whole, and readiness is false until it has succeeded."""
    saying = Saying(code, times=1)
    assert asyncio.run(saying.run(database)) == "done"
    assert saying.seen == [False, False]
    assert saying.readiness.ready


@pytest.mark.parametrize(("code", "error"), LASTING.items())
def test_what_lasts_ends_the_process(database: str, code: str, error: type[Final]) -> None:
    """What no repetition helps is raised at once, as a matter of settings or of the projection."""
    saying = Saying(code, times=9)
    with pytest.raises(error, match="said"):
        asyncio.run(saying.run(database))
    assert len(saying.seen) == 1


_COMMIT_SLOWLY = """
CREATE TABLE slow (number int);
CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER slowly AFTER INSERT ON slow
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slowly();
"""
_COMMITS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"


async def cancelled(dsn: str, *, once: bool) -> bool:
    """In the middle of a COMMIT; whether it ends as who is cancelled does."""
    async with (
        open_database(dsn, name="test", metrics=Metrics(), readiness=Readiness()) as database,
        connected(dsn) as connection,
    ):
        await connection.execute(_COMMIT_SLOWLY)
        run = database.once if once else database.run
        task = asyncio.create_task(run(lambda session: session.execute("INSERT INTO slow VALUES (1)")))

        async def commits() -> bool:
            return bool(await connection.fetchval(_COMMITS))

        await until(commits)
        task.cancel()
        await asyncio.wait((task,), timeout=TIMEOUT_S)
        return task.cancelled()


@pytest.mark.parametrize("once", [True, False])
def test_who_is_cancelled_while_it_commits_ends(database: str, once: bool) -> None:
    """Though it can't roll back then: who took that for a Postgres that is away would go on for ever."""
    assert asyncio.run(cancelled(database, once=once))


async def silent(dsn: str) -> bool:
    """In a part of a transaction; whether its connection is cut, before anything is asked again."""
    connections: list[Connection] = []

    async def work(connection: Connection) -> None:
        connections.append(connection)
        async with savepoint(connection):
            raise TimeoutError

    async with open_database(dsn, name="test", metrics=Metrics(), readiness=Readiness()) as database:
        with pytest.raises(AWAY):
            await database.once(work)
        return connections[0].is_closed()


def test_a_server_that_does_not_answer_is_not_asked_to_undo(database: str) -> None:
    """It would not answer that either, and a failover would be noticed twice as late."""
    assert asyncio.run(silent(database))
