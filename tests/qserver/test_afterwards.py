"""What must still be so after a switch, a drop, a pause, or an event that no index can hold."""

import asyncio
import json
from functools import partial
from random import Random
from typing import ClassVar

import asyncpg
import pytest

from bank.projections import Ledger
from bank.v1.events_pb2 import Deposited
from bennu.domain import BIGINT, TEXT, Column, EventMeta, Projection, Rows, Table, projects
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.ops.generations import DROP, DROPPED, LIVE, SWITCH
from bennu.ops.metrics import Metrics
from bennu.ops.readiness import Readiness
from bennu_qserver import readers
from bennu_qserver.database import open_database
from bennu_qserver.freshness import Freshness
from bennu_qserver.lag import NO_LAG
from bennu_qserver.positions import Place
from bennu_qserver.status import Board
from tests.journal_writer import Entry, JournalWriter
from tests.qserver.loops import bank_with, looping
from tests.qserver.managed import ASKED, MARKS, MARKS2, Journals, Marks, Operator, Process, managed
from tests.qserver.serving import TIMEOUT_S, connected, until

pytestmark = pytest.mark.real

FRESH = "SELECT array_agg(DISTINCT generation ORDER BY generation) FROM bennu.freshness"
SAMPLED = "SELECT max(sampled_at) FROM bennu.freshness WHERE generation = 2"


async def dropped(dsn: str) -> None:
    """A process goes on to say how fresh a generation is that is dropped in that second."""
    journals = Journals(seed=101)
    await journals.begin()
    await journals.write(5)
    board = Board(Readiness())
    async with (
        connected(dsn) as connection,
        managed(journals.log, dsn, MARKS),
        managed(journals.log, dsn, MARKS2, node="two"),
        open_database(dsn, name="fresh", metrics=Metrics(), readiness=Readiness()) as database,
        asyncio.TaskGroup() as group,
    ):
        operator, freshness = Operator(connection), Freshness("one", board)
        freshness.sampled({Place("bank", "marks", number, 0): NO_LAG for number in (1, 2)})
        writes = group.create_task(freshness.write_always(database))
        await until(lambda: both_live(operator))
        await operator.rebuild(like="two")
        await operator.come(2, LIVE)
        await until(lambda: is_fresh(connection, [1, 2]))
        await operator.wish(1, DROP)
        await operator.come(1, DROPPED)
        for _ in range(2):
            before = await connection.fetchval(SAMPLED)
            await until(partial(connection.fetchval, f"SELECT ({SAMPLED}) > $1", before))
        assert await connection.fetchval(FRESH) == [2]
        writes.cancel()


async def both_live(operator: Operator) -> bool:
    """Whether both processes have been seen."""
    return len(await operator.desk.workers()) == 2


async def is_fresh(connection: "asyncpg.Connection[asyncpg.Record]", generations: list[int]) -> bool:
    """Whether these are told of."""
    return bool(await connection.fetchval(FRESH) == generations)


def test_nothing_is_said_of_a_generation_that_was_dropped(database: str) -> None:
    """Its row of freshness goes with it, and does not come back."""
    asyncio.run(dropped(database))


async def notified(dsn: str) -> None:
    """Somebody listens before, during and after a switch, there and back."""
    journals = Journals(seed=102)
    await journals.begin()
    heard: asyncio.Queue[dict[str, int]] = asyncio.Queue()
    async with (
        connected(dsn) as listener,
        connected(dsn) as connection,
        managed(journals.log, dsn, MARKS),
        managed(journals.log, dsn, MARKS2, node="two"),
    ):
        await listener.add_listener("bank_marks", lambda *said: heard.put_nowait(json.loads(said[3])))
        operator = Operator(connection)
        await until(lambda: both_live(operator))
        await operator.rebuild(like="two")
        for number in (2, 1):
            if number == 1:
                await operator.wish(1, SWITCH)
            await until_heard(heard, {"generation": number})
            await journals.write(1)
            await until_heard(heard, {"partition": 0, "batch_no": journals.writers[0].position.batch_no})
        assert heard.empty(), "the other generation is written, too, and nobody reads it"


async def until_heard(heard: "asyncio.Queue[dict[str, int]]", notice: dict[str, int]) -> None:
    """The next notice is this one."""
    async with asyncio.timeout(TIMEOUT_S):
        assert await heard.get() == notice


def test_notices_are_of_the_view_whatever_it_shows(database: str) -> None:
    """Who listens hears of the switch, and then of each transaction once, on the same channel."""
    asyncio.run(notified(database))


class OnlySums(Projection):
    """One of the two tables."""

    name: ClassVar[str] = "marks"
    tables = (Marks.tables[1],)

    @projects
    def deposited(self, event: Deposited, rows: Rows, _meta: EventMeta) -> None:
        rows.increment("sums", {"account": event.account}, amount=event.amount_minor)
        rows.upsert("sums", {"account": event.account}, made_by=1)


READS = "SELECT has_table_privilege('bennu_reader', 'bank.marks', 'SELECT')"


async def with_a_view_more(dsn: str) -> None:
    """The next build declares a table more."""
    journals = Journals(seed=103)
    await journals.begin()
    await journals.write(3)
    async with connected(dsn) as connection, managed(journals.log, dsn, bank_with(OnlySums)):
        await until(lambda: connection.fetchval("SELECT count(*) > 0 FROM bank.sums"))
        async with connection.transaction():
            await readers.grant(connection, app="bank")
    async with connected(dsn) as connection, managed(journals.log, dsn, MARKS2):
        operator = Operator(connection)
        await operator.rebuild()
        await operator.come(2, LIVE)
        await connection.execute("SET ROLE bennu_reader")
        assert await connection.fetchval("SELECT count(*) FROM bank.marks") == journals.events


def test_a_view_that_comes_with_a_switch_can_be_read_by_the_role(database: str) -> None:
    """At once, not after QServer's next start."""
    asyncio.run(with_a_view_more(database))


async def paused_before(dsn: str) -> None:
    """Paused while nobody projects, and somebody works on the table; then a process starts."""
    journals = Journals(seed=104)
    await journals.begin()
    await journals.write(3)
    both = bank_with(Marks, Ledger)
    async with connected(dsn) as connection, connected(dsn) as worker:
        operator = Operator(connection)
        async with managed(journals.log, dsn, both):
            await operator.shows([1], events=journals.events)
        before = journals.events
        await operator.desk.pause("marks", ASKED)
        await journals.write(3)
        async with managed(journals.log, dsn, both) as process:
            async with worker.transaction():
                await worker.execute("LOCK TABLE bank.marks_g1 IN ACCESS EXCLUSIVE MODE")
                lines = 2 * journals.events
                await until(lambda: connection.fetchval("SELECT count(*) = $1 FROM bank.entries", lines))
                assert process.places == {("ledger", 1, 0)}
            await operator.shows([1], events=before)
            assert await operator.desk.resume("marks")
            await operator.shows([1], events=journals.events)


def test_what_was_paused_before_the_start_stays_so(database: str) -> None:
    """Its tables are not even touched, and the others go on; resumed, it begins."""
    asyncio.run(paused_before(database))


NEVER_WAS = """
BEGIN;
DELETE FROM bennu.generations WHERE generation = 2; DELETE FROM bennu.positions WHERE generation = 2;
DROP TABLE bank.marks_g2, bank.sums_g2;
COMMIT
"""


async def begun_again(dsn: str) -> None:
    """A generation is built; then Postgres is as it was before, as a standby is that lacks the last transactions."""
    journals = Journals(seed=106)
    await journals.begin()
    await journals.write(3)
    async with connected(dsn) as connection, managed(journals.log, dsn, MARKS) as process:
        operator = Operator(connection)
        assert await operator.rebuild(wish=None) == 2
        await until(lambda: has_loops(process, 2))
        await connection.execute(NEVER_WAS)
        await until(lambda: has_loops(process, 1))
        assert await operator.rebuild() == 2
        await operator.come(2, LIVE)
        await journals.write(3)
        await operator.shows([1], events=journals.events)


async def has_loops(process: Process, count: int) -> bool:
    """Whether it has so many."""
    return len(process.places) == count


def test_a_generation_that_a_failover_has_undone_can_be_begun_again(database: str) -> None:
    """Its number comes again, and its tables are made again: what was known of it is forgotten."""
    asyncio.run(begun_again(database))


class Noted(Projection):
    """Has an index, of what may be long."""

    name = "noted"
    tables = (
        Table(
            "notes",
            key=("partition", "seq"),
            columns=(Column("partition", BIGINT), Column("seq", BIGINT), Column("note", TEXT)),
            indexes=(("note",),),
        ),
    )

    @projects
    def deposited(self, event: Deposited, rows: Rows, meta: EventMeta) -> None:
        rows.append("notes", partition=meta.partition, seq=meta.seq, note=event.transfer)


LETTERS = "SELECT key, problem FROM bennu.dead_letters ORDER BY seq"


async def too_long(dsn: str) -> None:
    """A text that the index can't hold, between others; it is random, since what repeats is compressed."""
    log = MemoryLog(MemoryBroker())
    writer = JournalWriter(log, "bank-events-0")
    await log.create("bank-events-0")
    await writer.epoch()
    notes = {"a": "short", "b": Random(105).randbytes(8_000).hex(), "c": "short, too"}
    events = [Deposited(account=account, amount_minor=1, transfer=note) for account, note in notes.items()]
    await writer.batch([Entry("c", events)], recorded_at_us=1)
    async with connected(dsn) as connection, looping(log, dsn, app=bank_with(Noted)):
        await until(lambda: connection.fetchval("SELECT count(*) = 2 FROM bank.notes"))
        assert [row[0] for row in await connection.fetch("SELECT note FROM bank.notes ORDER BY seq")] == [
            "short",
            "short, too",
        ]
        ((key, problem),) = await connection.fetch(LETTERS)
        assert key == "b"
        assert "index row" in problem


def test_a_text_too_long_for_an_index_is_parked(database: str) -> None:
    """It is the event's fault, not a lack of resources that may pass: others flow."""
    asyncio.run(asyncio.wait_for(too_long(database), TIMEOUT_S))
