"""The table of all events: complete, each row once, whatever their times; kept by time, and for so long as is said."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from bank.v1.events_pb2 import AccountOpened, Deposited
from bennu.domain import DAY, App, EventMeta, EventTable, Rows, projects
from bennu.errors import BadSettings
from bennu.v1.command_pb2 import Origin
from bennu_qserver import pieces
from bennu_qserver.dispatch import compile_projections
from bennu_qserver.errors import TablesDiffer
from bennu_qserver.events import project
from bennu_qserver.tables import StoredTable
from bennu_qserver.values import EARLIEST_US, LATEST_US, array_text
from tests.builds import app_new
from tests.builds.messages import BOXES, Filled2
from tests.qserver.event_tables import Told, chance, payloads, pieces_of
from tests.qserver.history import START_US, at
from tests.qserver.loops import bank_with, looping, make_first
from tests.qserver.serving import connected, until

DAY_US = 86_400_000_000
OPENED = AccountOpened(account="ann", currency="EUR")


class Daily(EventTable):
    """By day, for a month and a half."""

    every, keep_days = DAY, 45


def of_now(days_ago: float) -> int:
    """Microseconds since 1970."""
    return int((datetime.now(UTC) - timedelta(days=days_ago)).timestamp() * 1_000_000)


async def restarted(dsn: str, *, seed: int) -> None:
    """Loops that are cut off wherever they are, while history goes on for months."""
    told = Told(partitions=2, seed=seed)
    await told.create()
    async with connected(dsn) as connection:
        for _ in range(5):
            await told.write(10)
            async with looping(told.log, dsn, app=told.app, partitions=2):
                for bank in told.banks:
                    bank.clock_us += told.random.randrange(20, 50) * DAY_US  # both need pieces that nobody has made
                await told.write(10)
                await chance(told.random)
        async with looping(told.log, dsn, app=told.app, partitions=2):
            await told.shown(connection)
        assert len(await pieces_of(connection)) >= 4


@pytest.mark.real
@pytest.mark.parametrize("seed", [61, 62, 63])
def test_every_event_is_there_once(database: str, seed: int) -> None:
    """Of every type, with whatever is said of its command; parsed back, a payload is the event."""
    asyncio.run(restarted(database, seed=seed))


async def at_strange_times(dsn: str) -> None:
    """From before 1970 to the end of what Postgres' clients can read, and beyond."""
    told = Told()
    await told.create()
    times_us = [-(2**62), EARLIEST_US, -1, 0, START_US, START_US, of_now(0), of_now(-90), LATEST_US, 2**62]
    for number, at_us in enumerate(times_us):
        await told.say(Deposited(account="ann", amount_minor=number), at_us=at_us)
    async with connected(dsn) as connection, looping(told.log, dsn, app=told.app):
        await told.projected(connection)
        rows = await connection.fetch("SELECT recorded_at, payload->>'amount_minor' FROM bank.events ORDER BY seq")
        shown_us = [min(max(at_us, EARLIEST_US), LATEST_US) for at_us in times_us]
        assert [row[0] for row in rows] == [at(at_us) for at_us in shown_us]
        assert [row[1] for row in rows] == [None, *map(str, range(1, len(times_us)))]
        made = {f"{at(at_us).year:04}{at(at_us).month:02}" for at_us in shown_us}
        assert set(await pieces_of(connection)) == made
        assert not await connection.fetchval("SELECT count(*) FROM bennu.dead_letters WHERE projection = 'events'")


@pytest.mark.real
def test_no_time_is_out_of_reach(database: str) -> None:
    """What an event needs is made with it; what is beyond year 9999 stands at its end; nothing is parked."""
    asyncio.run(at_strange_times(database))


async def sparse(dsn: str) -> None:
    """An event a week for ten years."""
    told = Told()
    await told.create()
    times_us = [START_US + number * 7 * DAY_US for number in range(500)]
    for at_us in times_us:
        await told.say(Deposited(account="ann", amount_minor=1), at_us=at_us)
    async with connected(dsn) as connection, looping(told.log, dsn, app=told.app):
        await told.shown(connection)
        assert await pieces_of(connection) == sorted({f"{at(at_us):%Y%m}" for at_us in times_us})


@pytest.mark.real
def test_a_long_history_is_read_anew(database: str) -> None:
    """By months that lie as far apart as the first build has lived."""
    asyncio.run(sparse(database))


async def kept_for_a_while(dsn: str) -> None:
    """Old history, by a build that keeps a month and a half; then that of one which keeps less."""
    told = Told(app=bank_with(Daily))
    await told.create()
    for days_ago in (400, 46.5, 46.01, 45, 20, 0.5):
        await told.say(OPENED, at_us=of_now(days_ago))
    since_us = of_now(45) // DAY_US * DAY_US
    async with connected(dsn) as connection:
        async with looping(told.log, dsn, app=told.app):
            await told.shown(connection, least_us=since_us)
            assert len(await pieces_of(connection)) == 3
        await told.say(OPENED, at_us=of_now(0))
        less = type("Less", (Daily,), {"keep_days": 10})
        assert _declared(less) == _declared(Daily)
        async with looping(told.log, dsn, app=bank_with(less)):
            await told.projected(connection)
            assert len(await payloads(connection)) == 4  # nobody has dropped anything yet
        async with connected(dsn) as reader, reader.transaction():
            await reader.fetch("SELECT FROM bank.events LIMIT 1")
            with pytest.raises(asyncpg.LockNotAvailableError):
                await _drop_all(connection, less)
        dropped = await _drop_all(connection, less)
        assert dropped == sorted(dropped)
        assert len(dropped) == 2
        await told.shown(connection, least_us=of_now(10) // DAY_US * DAY_US)


async def _drop_all(connection: "asyncpg.Connection[asyncpg.Record]", kind: type[EventTable]) -> list[str]:
    dropped: list[str] = []
    while True:
        async with connection.transaction():
            await connection.execute("SET LOCAL lock_timeout = '100ms'")
            more = await pieces.drop_oldest(connection, StoredTable("bank", 1, kind.tables[0]))
        if not more:
            return dropped
        dropped += more


def _declared(kind: type[EventTable]) -> str:
    (declared,) = compile_projections(bank_with(kind))
    return declared.declaration


@pytest.mark.real
def test_what_is_not_kept_is_neither_written_nor_there(database: str) -> None:
    """Days that have ended before so many days: rows of others are whole; who reads is waited for."""
    asyncio.run(kept_for_a_while(database))


async def at_once(dsn: str) -> None:
    """Several that want the same pieces, and one that rolls back."""
    told = Told()
    await told.create()
    table = StoredTable("bank", 1, EventTable.tables[0])
    async with looping(told.log, dsn, app=told.app):
        pass

    async def want(days: list[int], *, fail: bool) -> list[str]:
        async with connected(dsn) as connection:
            transaction = connection.transaction()
            await transaction.start()
            made = await pieces.make(connection, table, days)
            await (transaction.rollback() if fail else transaction.commit())
            return [] if fail else made

    days = [[0, 40, 80], [80, 40], [40], [120, 0], [0, 40, 80, 120]]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(want(wanted, fail=number == 0)) for number, wanted in enumerate(days)]
    made = [name for task in tasks for name in task.result()]
    assert sorted(made) == [f"events_g1_19700{month}" for month in (1, 2, 3, 5)]
    async with connected(dsn) as connection:
        assert await pieces_of(connection) == ["197001", "197002", "197003", "197005"]


@pytest.mark.real
def test_a_piece_is_made_once(database: str) -> None:
    """Whoever comes second finds it, also when the first one gave up."""
    asyncio.run(at_once(database))


SAID = Origin(actor="saga:T", correlation_id="T:1", causation_id="c0", reason="because", traceparent="00-1-2-03")


async def parked(dsn: str) -> None:
    """A row that Postgres refuses, until somebody mends the table."""
    told = Told()
    await told.create()
    async with connected(dsn) as connection:
        async with looping(told.log, dsn, app=told.app):
            await told.projected(connection)
        await connection.execute("ALTER TABLE bank.events_g1 ADD CONSTRAINT odd CHECK (key <> 'odd')")
        await told.say(AccountOpened(account="odd"), at_us=START_US, origin=SAID, command_id="c1")
        await told.say(OPENED, at_us=START_US + 60 * DAY_US)
        async with looping(told.log, dsn, app=told.app):
            await told.projected(connection)
            assert await payloads(connection) == [{"account": "ann", "currency": "EUR"}]
            letters = "SELECT count(*) FROM bennu.dead_letters WHERE projection = 'events' AND state = 'parked'"
            assert await connection.fetchval(letters) == 1
            await connection.execute("ALTER TABLE bank.events_g1 DROP CONSTRAINT odd")
            await connection.execute("UPDATE bennu.dead_letters SET wish = 'retry', wished_by = '', wished_reason = ''")

            async def applied() -> bool:
                return bool(await connection.fetchval(letters) == 0)

            await until(applied)
            await told.shown(connection)


@pytest.mark.real
def test_an_event_that_was_parked_is_shown_as_it_would_have_been(database: str) -> None:
    """With all that is known of its command; and pieces that a part of a transaction needed are there."""
    asyncio.run(parked(database))


async def chained(dsn: str) -> list[tuple[object, ...]]:
    """A client's command, what a saga sent for it, what it sent for that; and a chain that bites its tail."""
    told = Told()
    await told.create()
    await told.say(OPENED, at_us=START_US, command_id="c1")
    for command_id, cause in (("s1", "c1"), ("s2", "s1"), ("s3", "s1"), ("x", "x"), ("c2", "")):
        event = Deposited(account=command_id)
        await told.say(event, at_us=START_US, command_id=command_id, origin=Origin(causation_id=cause))
    page = (Path(__file__).parents[2] / "docs" / "QUERYING.md").read_text()
    (query,) = re.findall(r"^WITH RECURSIVE.*?;", page, re.DOTALL | re.MULTILINE)
    async with connected(dsn) as connection, looping(told.log, dsn, app=told.app):
        await told.shown(connection)
        assert len(await connection.fetch(query.replace("'c1'", "'x'"))) == 2  # and it ends
        return [(row["depth"], row["command_id"], row["key"]) for row in await connection.fetch(query)]


@pytest.mark.real
def test_what_came_of_a_command_is_one_query(database: str) -> None:
    """From command to event to saga to command."""
    assert asyncio.run(chained(database)) == [(0, "c1", "ann"), (1, "s1", "s1"), (2, "s2", "s2"), (2, "s3", "s3")]


async def made_plain(dsn: str) -> None:
    """Somebody has put all its rows into one piece."""
    told = Told()
    await told.create()
    async with looping(told.log, dsn, app=told.app), connected(dsn) as connection:
        await told.projected(connection)
    async with connected(dsn) as connection:
        await connection.execute("CREATE TABLE bank.plain (LIKE bank.events_g1 INCLUDING ALL)")
        await connection.execute("DROP TABLE bank.events_g1 CASCADE")
        await connection.execute("ALTER TABLE bank.plain RENAME TO events_g1")
        (_, events) = compile_projections(told.app)
        with pytest.raises(TablesDiffer, match=r"bank\.events_g1 is not as declared: it is not partitioned"):
            await make_first(connection, events)


@pytest.mark.real
def test_a_table_that_was_made_plain_is_noticed(database: str) -> None:
    """As other changes by hand are, before anything is written."""
    asyncio.run(made_plain(database))


def test_a_new_type_of_event_asks_for_no_rebuild() -> None:
    """It handles whatever there is; by day is another table."""
    assert _declared(EventTable) == _declared(type("Kept", (EventTable,), {"keep_days": 400}))
    assert _declared(EventTable) != _declared(Daily)
    (declared,) = compile_projections(bank_with(EventTable))
    assert all(declared.handlers.values())


def test_an_old_event_is_shown_as_it_was_written() -> None:
    """By its old type and its old fields, whatever upcasters make of it for others."""
    aggregates, upcasters = (app_new.BoxRules,), (app_new.first, app_new.second)
    app = App("builds", service=BOXES, aggregates=aggregates, upcasters=upcasters, projections=(EventTable,))
    (declared,) = compile_projections(app)
    projection = declared.in_generation(1)
    raw = Filled2(box="b", amount=3, unit="kg").SerializeToString()
    event = projection.event("builds.v1.Filled2", raw, meta=EventMeta(0, 7, START_US, "c1", "ann"), where="here")
    assert event is not None
    rows = projection.new_rows("here")
    project(event, rows)
    (write,) = rows.writes()
    for text in ("builds.v1.Filled2", "Box", "b", '{"box":"b","amount":3,"unit":"kg"}'):
        assert array_text([text]) in write.arrays


class WithRules(EventTable):
    """Which would never be called."""

    @projects
    def opened(self, event: AccountOpened, rows: Rows, meta: EventMeta) -> None:
        """Nothing."""


FAULTY = {
    "WithRules.opened: an EventTable takes every event": WithRules,
    "it is kept by week; known are day and month": type("W", (EventTable,), {"every": "week"}),
    "keep_days is -1": type("N", (EventTable,), {"keep_days": -1}),
    "kept by day, and for 0 days": type("D", (EventTable,), {"every": DAY}),
    "kept by day, and for 401 days": type("L", (EventTable,), {"every": DAY, "keep_days": 401}),
    "two tables are called `events`": type("T", (EventTable,), {"name": "others"}),
}


@pytest.mark.parametrize(("complaint", "kind"), FAULTY.items())
def test_what_can_not_be_is_refused(complaint: str, kind: type[EventTable]) -> None:
    """The declaration is at fault, and says where."""
    others = (EventTable,) if kind.name == "others" else ()
    with pytest.raises(BadSettings, match=re.escape(complaint)):
        compile_projections(bank_with(kind, *others))
