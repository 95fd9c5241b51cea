"""`bennu reconcile` finds whatever in the tables is not as the journal says, and nothing else."""

import asyncio
from random import Random

import asyncpg
import pytest

from bennu.log.memory import MemoryBroker, MemoryLog
from bennu_qserver import projection_loop
from tests.qserver.letters import Letters
from tests.qserver.loops import LEDGER, looping
from tests.qserver.managed import MARKS, Journals, Operator, managed
from tests.qserver.poison import deposited
from tests.qserver.reconciling import reconciled
from tests.qserver.serving import World, connected

pytestmark = pytest.mark.real


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection_loop, "WISH_POLL_S", 0.02)


async def filled(dsn: str, *, seed: int) -> World:
    """A bank of two partitions, whose tables are level."""
    world = World(MemoryLog(MemoryBroker()), dsn, seed=seed, partitions=2)
    await world.create()
    await world.write(40)
    async with looping(world.log, dsn, partitions=2):
        await world.shown()
    return world


async def by_hand(dsn: str, statement: str, *, rows_at_once: int = 1_000_000) -> list[str]:
    """What is said of a bank's tables after this."""
    world = await filled(dsn, seed=7)
    before = await reconciled(world.log, dsn, LEDGER, rows_at_once=rows_at_once)
    assert before.words == []
    (table,) = before.tables
    assert table.rows == table.expected > 100
    async with connected(dsn) as connection:
        assert (await connection.execute(statement)).endswith(" 1")
    after = await reconciled(world.log, dsn, LEDGER, rows_at_once=rows_at_once)
    assert after.tables[0].differences == len(after.words)
    return after.words


CHANGED = "UPDATE bank.accounts_g1 SET owner = 'Eve' WHERE account = 'a0-0'"
REMOVED = (
    "DELETE FROM bank.entries_g1 WHERE (partition, seq, line) = (SELECT partition, seq, line FROM bank.entries LIMIT 1)"
)
ADDED = """
INSERT INTO bank.transfers_g1 (transfer, source, target, amount_minor, fee_minor, currency, status, requested_at)
VALUES ('t!', 'a', 'b', 1, 0, 'EUR', 'completed', now())
"""
EMPTIED = "UPDATE bank.transfers_g1 SET reason = 'because' WHERE transfer = (SELECT min(transfer) FROM bank.transfers)"
MICROSECOND = "UPDATE bank.accounts_g1 SET opened_at = opened_at + interval '1 microsecond' WHERE account = 'a1-0'"
ENDLESS = "UPDATE bank.accounts_g1 SET opened_at = 'infinity' WHERE account = 'a1-0'"
FORGED = "UPDATE bennu.positions SET next_seq = next_seq + 1 WHERE partition = 1"
BACK = "UPDATE bennu.positions SET log_offset = log_offset - 1 WHERE partition = 1"
BEYOND = "UPDATE bennu.positions SET log_offset = log_offset + 5 WHERE partition = 0"


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (CHANGED, "table accounts, account='a0-0': owner is 'Eve', expected 'Zoë 😀' (last touched by event "),
        (REMOVED, ": it is not there (last touched by event "),
        (ADDED, "table transfers, transfer='t!': no event makes it"),
        (EMPTIED, ": reason is 'because', expected "),
        (MICROSECOND, ": opened_at is "),
        (ENDLESS, ": opened_at is 9223372036854775807 us since 1970, expected "),
        (FORGED, "position of partition 1: not one that the journal leads to: next_seq "),
        (BACK, "position of partition 1: not one that the journal leads to: "),
        (BEYOND, "position of partition 0: not one that the journal leads to: offset "),
    ],
)
def test_what_was_changed_by_hand_is_found(database: str, statement: str, words: str) -> None:
    """One row, or one position, and nothing else."""
    said = asyncio.run(by_hand(database, statement))
    assert any(words in line for line in said), said
    if statement not in (BACK, FORGED, BEYOND):
        assert len(said) == 1


@pytest.mark.parametrize("statement", [CHANGED, REMOVED, ADDED, FORGED])
def test_where_few_rows_fit_into_memory_each_difference_is_told_once(database: str, statement: str) -> None:
    """The rows are compared in parts, of which each is read at its own moment."""
    assert len(asyncio.run(by_hand(database, statement, rows_at_once=40))) == 1


async def earlier(dsn: str) -> list[str]:
    """The position is put back to one that was right once, with all its fields."""
    world = World(MemoryLog(MemoryBroker()), dsn, seed=8)
    await world.create()
    await world.write(30)
    async with connected(dsn) as connection:
        async with looping(world.log, dsn):
            await world.shown()
        await connection.execute("CREATE TABLE kept AS SELECT * FROM bennu.positions")
        await world.write(30)
        async with looping(world.log, dsn):
            await world.shown()
        await connection.execute("DELETE FROM bennu.positions; INSERT INTO bennu.positions SELECT * FROM kept")
    return (await reconciled(world.log, dsn, LEDGER)).words


def test_rows_that_are_ahead_of_their_position_are_found(database: str) -> None:
    """A position that the journal leads to, and rows that say more than the journal up to there."""
    said = asyncio.run(earlier(database))
    assert said
    assert all(line.startswith("table ") for line in said)
    assert any("no event makes it" in line for line in said)


async def without_a_table(dsn: str, statement: str) -> list[str]:
    """A table is not as it was made."""
    world = await filled(dsn, seed=9)
    async with connected(dsn) as connection:
        await connection.execute(statement)
    return (await reconciled(world.log, dsn, LEDGER)).words


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DROP TABLE bank.transfers_g1 CASCADE", "it is not there"),
        ("ALTER TABLE bank.transfers_g1 ADD COLUMN more text", "column more is not declared"),
    ],
)
def test_a_table_that_is_not_as_it_was_made_is_a_difference(database: str, statement: str, words: str) -> None:
    """Its rows can't be compared, and that is said; the other tables' are."""
    said = asyncio.run(without_a_table(database, statement))
    assert said == [f"table transfers: not as it was made: {words}; its rows are not compared"]


async def poisoned(dsn: str, *, seed: int) -> None:
    """The histories of `test_dead_letters`: after each step nothing differs, and then what was changed by hand does."""
    world = Letters(dsn, seed=seed, partitions=2)
    await world.create()
    await world.say_at_random(batches=20, poison=0.05)
    async with connected(dsn) as connection:
        for mended in (False, True, True):
            if mended:
                world.mend()
            keys = world.some_keys()
            async with world.looping():
                await world.settled(connection)
                await world.wish(connection, "discard", keys)
                await world.settled(connection)
                await world.say_at_random(batches=5, poison=0.05)
                await world.settled(connection)
                await world.wish(connection, "retry", world.some_keys())
                await world.settled(connection)
                await agree(world)
            await world.cut_off(connection, times=2)
            await agree(world)  # wherever they were cut off
            async with world.looping():
                await world.settled(connection)
        await changed_at_random(world, connection, Random(seed))


async def agree(world: Letters) -> None:
    """Nothing differs, however the rows are divided."""
    for rows_at_once in (1_000_000, 60):
        said = await reconciled(world.log, world.dsn, world.app, rows_at_once=rows_at_once)
        assert said.words == []
        assert said.tables[0].rows > 0
        assert said.tables[0].not_compared == ("table cells: rules change it by plain SQL",)


async def changed_at_random(world: Letters, connection: "asyncpg.Connection[asyncpg.Record]", random: Random) -> None:
    """Some rows are changed, and just these are found."""
    accounts = [row[0] for row in await connection.fetch("SELECT account FROM bank.purses ORDER BY 1")]
    chosen = random.sample(accounts, 3)
    await connection.execute("UPDATE bank.purses_g1 SET total = total + 1 WHERE account = $1", chosen[0])
    await connection.execute("""UPDATE bank.purses_g1 SET said = '{"a": 1}' WHERE account = $1""", chosen[1])
    await connection.execute("DELETE FROM bank.purses_g1 WHERE account = $1", chosen[2])
    await connection.execute("UPDATE bank.cells_g1 SET total = total + 1")  # which is not compared
    await connection.execute("UPDATE bank.totals_g1 SET last = last || '!' WHERE kind = '1'")
    await connection.execute("UPDATE bank.lines_g1 SET state = 'odd' WHERE seq = (SELECT max(seq) FROM bank.lines)")
    said = await reconciled(world.log, world.dsn, world.app)
    assert sorted((each.kind, each.table, each.key.get("account")) for each in said.differences) == sorted(
        [
            ("differs", "purses", chosen[0]),
            ("differs", "purses", chosen[1]),
            ("missing", "purses", chosen[2]),
            ("differs", "totals", None),
            ("differs", "lines", said.differences[-2].key["account"]),
        ]
    )


@pytest.mark.parametrize("seed", range(4))
def test_poison_retries_and_crashes_are_no_differences(database: str, seed: int) -> None:
    """Events that are parked, discarded, or applied long after others are compared as they are."""
    asyncio.run(poisoned(database, seed=seed))


async def unparked(dsn: str) -> list[str]:
    """Somebody deletes a dead letter, so that nobody will ever show its event."""
    world = Letters(dsn)
    await world.create()
    await world.say(deposited("a", "null"), deposited("b"))
    async with connected(dsn) as connection:
        async with world.looping():
            await world.settled(connection)
        await connection.execute("DELETE FROM bennu.dead_letters")
    world.mend()
    return (await reconciled(world.log, dsn, world.app)).words


def test_a_dead_letter_that_was_deleted_is_missed(database: str) -> None:
    """The rows that its event would have made are not there, and nothing says why."""
    said = asyncio.run(unparked(database))
    assert [line.partition(":")[0] for line in said] == [
        "table purses, account='a'",
        "table steps, partition=0, seq=1",
        "table lines, account='a', seq=1",
        "table totals, kind='1'",
    ]


async def mended(dsn: str) -> None:
    """Rows are changed by hand; a rebuild follows, and events go on coming."""
    journals = Journals(partitions=2, seed=5)
    await journals.begin()
    await journals.write(20)
    async with connected(dsn) as connection:
        operator = Operator(connection)
        async with managed(journals.log, dsn, MARKS, partitions=2):
            await operator.shows([1], events=journals.events)
            await connection.execute("UPDATE bank.sums_g1 SET made_by = 9; DELETE FROM bank.marks_g1 WHERE seq < 3")
            wrong = await reconciled(journals.log, dsn, MARKS)
            assert {each.kind for each in wrong.differences} == {"missing", "differs"}
            await operator.rebuild()
            while (await operator.states()).get(2) != "live":
                await journals.write(1)
            said = await reconciled(journals.log, dsn, MARKS)
            assert (said.words, said.tables[0].generation) == ([], 2)


def test_a_rebuild_mends_what_was_changed_by_hand(database: str) -> None:
    """Afterwards all is as the journal says."""
    asyncio.run(mended(database))


async def under_load(dsn: str) -> None:
    """Events come, and tables are rebuilt and switched, while all is compared again and again, in parts."""
    journals = Journals(partitions=3, seed=6)
    await journals.begin()
    await journals.write(30)
    async with connected(dsn) as connection, managed(journals.log, dsn, MARKS, partitions=3):
        operator = Operator(connection)
        await operator.shows([1], events=journals.events)
        done = asyncio.Event()

        async def write() -> None:
            while not done.is_set():
                await journals.write(1)
                await asyncio.sleep(0.05)

        async with asyncio.TaskGroup() as group:
            group.create_task(write())
            for number in (2, 3):
                await operator.rebuild()
                while (await operator.states()).get(number) != "live":
                    said = await reconciled(journals.log, dsn, MARKS, rows_at_once=400)
                    assert said.words == []
                    assert said.tables[0].rows > 0
            done.set()


def test_nothing_differs_while_everything_moves(database: str) -> None:
    """A comparison is of one moment, whatever is written and switched meanwhile."""
    asyncio.run(under_load(database))
