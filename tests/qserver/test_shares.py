"""Partitions are shared between processes; each projection has its own pause and its own trouble."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest

from bank.projections import Ledger
from bank.v1.events_pb2 import AccountOpened
from bennu.domain import EventMeta, Rows, projects
from bennu.errors import BadSettings, OffsetGone
from bennu.log.port import Log, Record
from bennu.ops.generations import BUILDING, CANCEL, CANCELLED, LIVE, SWITCH
from bennu_qserver import parked
from tests.journal_writer import Entry
from tests.qserver.loops import bank_with
from tests.qserver.managed import ASKED, MARKS, MARKS2, Journals, Marks, Operator, Process, managed
from tests.qserver.serving import connected, until

pytestmark = pytest.mark.real

PARTITIONS = 4


async def shares(one: Process, other: Process, *, all_of: int) -> bool:
    """Whether each has some of the places, and both together all, each once."""
    mine, others = one.places, other.places
    return bool(mine) and bool(others) and not mine & others and len(mine | others) == all_of


async def has(process: Process, count: int) -> bool:
    """Whether so many loops are its own."""
    return len(process.places) == count


async def shared(dsn: str) -> None:
    """One, then two, then one again; what comes is shown all the time."""
    journals = Journals(partitions=PARTITIONS, seed=61)
    await journals.begin()
    async with connected(dsn) as connection:
        operator = Operator(connection)
        async with managed(journals.log, dsn, MARKS, partitions=PARTITIONS) as one:
            await until(lambda: has(one, PARTITIONS))
            async with managed(journals.log, dsn, MARKS, node="two", partitions=PARTITIONS) as two:
                await until(lambda: shares(one, two, all_of=PARTITIONS))
                await journals.write(5)
                await operator.shows([1], events=journals.events)
            assert list(await operator.desk.workers()) == ["one"]  # it has left in order
            await until(lambda: has(one, PARTITIONS))
            await journals.write(5)
            await operator.shows([1], events=journals.events)


def test_partitions_are_shared(database: str) -> None:
    """A second process takes its share; when it ends in order, the first has all again."""
    asyncio.run(shared(database))


async def of_one_name(dsn: str) -> BaseException:
    """A second process calls itself as the first does."""
    journals = Journals(seed=62)
    await journals.begin()
    async with connected(dsn) as connection, managed(journals.log, dsn, MARKS) as one:
        await until(lambda: has(one, 1))
        with pytest.raises(ExceptionGroup) as caught:
            async with managed(journals.log, dsn, MARKS):
                await asyncio.Event().wait()
        await journals.write(5)
        await Operator(connection).shows([1], events=journals.events)
    error: BaseException = caught.value
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def test_the_later_one_of_a_name_stops(database: str) -> None:
    """It says which name, and the first one goes on."""
    error = asyncio.run(of_one_name(database))
    assert isinstance(error, BadSettings)
    assert str(error).startswith("--node one: another QServer of app `bank` has this name and lives")


async def paused(dsn: str) -> None:
    """One of two projections is paused, and goes on."""
    journals, app = Journals(seed=63), bank_with(Ledger, Marks)
    await journals.begin()
    async with connected(dsn) as connection, managed(journals.log, dsn, app) as process:
        operator = Operator(connection)
        await journals.write(5)
        before = journals.events
        await operator.shows([1], events=before)
        await operator.desk.pause("marks", ASKED)
        await until(lambda: is_exactly(process, ("ledger", 1, 0)))
        await journals.write(5)
        await until(lambda: entries(operator, 2 * journals.events))
        await operator.shows([1], events=before)
        assert await operator.desk.resume("marks")
        await operator.shows([1], events=journals.events)


async def is_exactly(process: Process, *places: tuple[str, int, int]) -> bool:
    """Whether these are its loops, and no others."""
    return process.places == set(places)


async def entries(operator: Operator, count: int) -> bool:
    """Whether the ledger shows so many."""
    return bool(await operator.connection.fetchval("SELECT count(*) = $1 FROM bank.entries", count))


def test_one_is_paused_and_the_others_go_on(database: str) -> None:
    """A pause is of one projection; its tables stay as they are, and it goes on where it stopped."""
    asyncio.run(paused(database))


class Shortened:
    """A log that no longer has its first record."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.create, self.append = log.create, log.append

    async def bounds(self, topic: str) -> tuple[int, int]:
        """From the second record on."""
        return 1, (await self._log.bounds(topic))[1]

    def read(self, topic: str, offset: int) -> AsyncGenerator[Sequence[Record], None]:
        """As the log does, but for the first record."""
        return self._log.read(topic, offset) if offset else self._gone(topic)

    async def _gone(self, topic: str) -> AsyncGenerator[Sequence[Record], None]:
        if topic:
            raise OffsetGone(f"{topic}: offset 0 is gone, the first one kept is 1")
        yield []


async def without_beginning(dsn: str) -> None:
    """A rebuild begins when the journal no longer does."""
    journals = Journals(seed=64)
    await journals.begin()
    await journals.write(5)
    async with connected(dsn) as connection:
        operator = Operator(connection)
        async with managed(journals.log, dsn, MARKS):
            await operator.shows([1], events=journals.events)
        log = Shortened(journals.log)
        async with managed(log, dsn, MARKS), managed(log, dsn, MARKS2, node="two"):
            await until(lambda: both(operator))
            await operator.rebuild(like="two")
            said = await operator.problem(2)
            assert said.startswith("partition 0: bank-events-0: offset 0 is gone")
            assert "--archive" in said
            await journals.write(5)
            await operator.shows([1], events=journals.events)
        async with managed(journals.log, dsn, MARKS2):  # as with the archive
            await operator.come(2, LIVE)
            await operator.shows([2], events=journals.events)


async def both(operator: Operator) -> bool:
    """Whether two processes are seen."""
    return len(await operator.desk.workers()) == 2


def test_a_journal_without_its_beginning_is_told(database: str) -> None:
    """The row of the generation says what is missing and what to do; the live one goes on, and later the other."""
    asyncio.run(without_beginning(database))


class Picky(Marks):
    """Can't show an account that is opened."""

    @projects
    def opened(self, event: AccountOpened, _rows: Rows, _meta: EventMeta) -> None:
        raise LookupError(event.account)


async def of_an_old_event(seed: int) -> Journals:
    """Deposits, and one event on which `Picky` raises."""
    journals = Journals(seed=seed)
    await journals.begin()
    await journals.write(2)
    await journals.writers[0].batch([Entry("open", [AccountOpened(account="a", currency="EUR")])], recorded_at_us=9)
    return journals


async def of_faulty_rules(dsn: str) -> None:
    """The new rules raise on an old event; then the generation is cancelled."""
    journals = await of_an_old_event(65)
    async with connected(dsn) as connection:
        operator = Operator(connection)
        async with (
            managed(journals.log, dsn, MARKS) as one,
            managed(journals.log, dsn, bank_with(Picky), node="two") as two,
        ):
            await until(lambda: both(operator))
            await operator.rebuild(like="two")
            assert "events of more than 0 aggregates would be parked" in await operator.problem(2)
            await until(lambda: is_exactly(two))
            await journals.write(2)
            await operator.shows([1], events=journals.events - 1)
            await operator.wish(2, CANCEL)
            await operator.come(2, CANCELLED)
            assert one.places == {("marks", 1, 0)}


async def of_a_fault(dsn: str) -> None:
    """The new rules raise on an old event; the generation is switched to once somebody has decided about it."""
    journals = await of_an_old_event(66)
    async with connected(dsn) as connection:
        operator = Operator(connection)
        async with (
            managed(journals.log, dsn, MARKS),
            managed(journals.log, dsn, bank_with(Picky), node="two"),
        ):
            await until(lambda: both(operator))
            await operator.rebuild(like="two")

            async def is_refused() -> bool:
                return "events of 1 aggregates are parked in generation 2" in await operator.problem(2)

            await until(is_refused)
            assert await operator.states() == {1: LIVE, 2: BUILDING}
            await connection.execute("UPDATE bennu.dead_letters SET state = 'discarded'")
            await operator.wish(2, SWITCH)
            await operator.come(2, LIVE)


def test_a_generation_that_shows_less_is_not_switched_to(database: str) -> None:
    """Parked events would be missing from what people read: it says so, and waits for a decision."""
    asyncio.run(of_a_fault(database))


def test_rules_that_fail_everywhere_stop_their_generation_alone(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be built says why in its row, and the live one of another build goes on."""
    monkeypatch.setattr(parked, "PARKED_KEYS", 0)
    asyncio.run(of_faulty_rules(database))
