"""Poison events are parked with the later ones of their key, and applied or discarded when an operator says so."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import bennu.log
from bank.v1.events_pb2 import Deposited, Withdrawn
from bennu.domain import Aggregate, App, State, evolves, upcasts
from bennu.errors import Final
from bennu.ops.metrics import Metrics
from bennu.ops.readiness import Readiness
from bennu.v1.saga_pb2 import SagaEnded, SagaParked, SagaStarted
from bennu_qserver import dead_letters, parked, positions, projection_loop
from bennu_qserver.database import open_database
from bennu_qserver.dispatch import compile_projections
from bennu_qserver.parked import ParkedGauges
from bennu_qserver.positions import Place
from bennu_qserver.status import Gauges
from bennu_qserver.writing import Writer
from tests.journal_writer import Entry
from tests.qserver.letters import Letters
from tests.qserver.loops import stopped_by
from tests.qserver.poison import APP, MENDED_APP, Cells, deposited
from tests.qserver.sagas import SagaJournal, shown
from tests.qserver.serving import connected, is_ready, metrics, qserver, started, until
from tests.replica.test_replay import nothing_called
from tests.service_process import Service

pytestmark = pytest.mark.real


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection_loop, "WISH_POLL_S", 0.02)


async def lived_through(dsn: str, *, seed: int) -> None:
    """Histories, crashes, mended rules, and operators."""
    world = Letters(dsn, seed=seed, partitions=2)
    await world.create()
    await world.say_at_random(batches=20, poison=0.05)
    async with connected(dsn) as connection:
        await world.cut_off(connection, times=4)
        async with world.looping():
            await world.settled(connection)
        for mended in (False, True):
            if mended:
                world.mend()
            await world.wish(connection, "retry", world.some_keys())
            await world.cut_off(connection, times=3)
            async with world.looping():
                await world.settled(connection)
                keys = world.some_keys()
                await world.wish(connection, "discard", keys)
                await world.settled(connection)
                await world.wish(connection, "retry", keys)
                await world.say_at_random(batches=10, poison=0.01)
                await world.settled(connection)
    assert {letter.state for spec in world.specs for letter in spec.letters.values()} >= {"parked", "discarded"}


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_tables_are_those_of_a_fold(database: str, seed: int) -> None:
    """Random histories with poison, loops cut off anywhere, retries and discards: as one event after another."""
    asyncio.run(lived_through(database, seed=seed))


@asynccontextmanager
async def writers(dsn: str, *, count: int) -> AsyncIterator[list[Writer]]:
    """Of the mended cells, all from where the position is: as when one process takes another for dead."""
    (declared,) = compile_projections(MENDED_APP)
    projection = declared.in_generation(1)
    place, metrics, readiness = Place("bank", "cells", 1, 0), Metrics(), Readiness()
    gauges = (Gauges(metrics, place), ParkedGauges(metrics, place))
    async with open_database(dsn, name="test", metrics=metrics, readiness=readiness) as database:
        made = [Writer(projection, place, database=database, gauges=gauges) for _ in range(count)]
        for writer in made:
            writer.begin(
                await database.run(lambda connection: positions.read(connection, place)),
                await database.run(lambda connection: dead_letters.load(connection, place)),
            )
        yield made


async def let_go_by_another(dsn: str) -> None:
    """Two know of a parked key; one of them lets go of it, and the other one meets its next event."""
    world = Letters(dsn)
    await world.create()
    async with connected(dsn) as connection:
        async with world.looping():
            await world.say(deposited("a", "null"), deposited("a"))
            await world.settled(connection)
        world.mend()
        async with writers(dsn, count=2) as (one, other):
            await world.wish(connection, "retry", ["a"])
            await one.carry_out_wishes()
            assert not one.parked.last_seqs
            assert other.parked.last_seqs
            work = other.new_work(other.saved)
            batch = world.writers[0].build([Entry("c3", [deposited("a")])], recorded_at_us=5)
            work.take(batch, compile_projections(MENDED_APP)[0].in_generation(1), partition=0, where="here")
            assert work.aside
            await other.write(work)
            assert not other.parked.last_seqs
        assert await connection.fetchval("SELECT total FROM bank.cells") == 3


def test_a_key_that_another_process_has_let_go_of_is_not_parked_again(database: str) -> None:
    """Who still takes a key for parked looks into the table before it parks: no event waits for nothing."""
    asyncio.run(let_go_by_another(database))


async def covered(dsn: str) -> None:
    """A value that no column can hold, and a good one over it in the same transaction."""
    world = Letters(dsn)
    await world.create()
    await world.say(deposited("a", "null"), deposited("a"), deposited("b"))
    async with connected(dsn) as connection, world.looping():
        await world.settled(connection)
    assert [letter.at_fault for letter in world.specs[0].letters.values()] == [True, False]


def test_what_a_later_event_covers_up_is_parked_nevertheless(database: str) -> None:
    """Which events are at fault does not depend on where transactions end."""
    asyncio.run(covered(database))


async def discarded_behind(dsn: str) -> None:
    """The wish to discard an event that only waits."""
    world = Letters(dsn)
    await world.create()
    await world.say(deposited("a", "null"), deposited("a"))
    async with connected(dsn) as connection, world.looping():
        await world.settled(connection)
        await connection.execute("UPDATE bennu.dead_letters SET wish = 'discard' WHERE seq = 2")
        await world.settled(connection)


def test_only_an_event_at_fault_is_discarded(database: str) -> None:
    """What waits behind one was never tried: the wish to discard it is dropped, and it stays."""
    asyncio.run(discarded_behind(database))


async def read_anew(dsn: str) -> None:
    """The tables are dropped to be filled again."""
    world = Letters(dsn)
    await world.create()
    await world.say(deposited("a", "null"), deposited("a"))
    async with connected(dsn) as connection:
        async with world.looping():
            await world.settled(connection)
        await connection.execute("DROP SCHEMA bank CASCADE")
        await connection.execute("DELETE FROM bennu.positions")
        async with world.looping():
            await world.settled(connection)


def test_letters_are_parked_anew_when_the_journal_is_read_anew(database: str) -> None:
    """Dead letters that the position has yet to come to are of an earlier life, and make way."""
    asyncio.run(read_anew(database))


async def too_many(dsn: str) -> Final:
    """More keys than may be parked."""
    world = Letters(dsn)
    await world.create()
    await world.say(*(deposited(f"a{number}", "raise") for number in range(4)))
    return await stopped_by(world.log, dsn, app=APP)


def test_too_many_parked_keys_stop(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where everything is at fault the rules are, and the loop stops and says so, with nothing written."""
    monkeypatch.setattr(parked, "PARKED_KEYS", 3)
    assert "more than 3 aggregates would be parked" in str(asyncio.run(too_many(database)))


async def told(directory: Path, dsn: str) -> None:
    """A QServer meets poison in one of two partitions."""
    service = qserver(directory, dsn, partitions=2, app="tests.qserver.poison:APP")
    async with bennu.log.open(f"sqlite:{directory / 'log'}") as log:
        world = Letters(dsn, partitions=2, log=log)
        await world.create()
        await world.say(deposited("a", "null"), deposited("a"), deposited("b", "raise"), deposited("c"))
        async with started(service), connected(dsn) as connection:
            await until(lambda: is_ready(service))
            await world.settled(connection)
            await until(
                lambda: says(service, 'parked_events{app="bank",generation="1",partition="0",projection="cells"} 3.0')
            )
            assert await says(service, 'parked_keys{app="bank",generation="1",partition="0",projection="cells"} 2.0')
            assert await says(service, 'parked_total{app="bank",generation="1",partition="0",projection="cells"} 3.0')
            assert await says(service, 'parked_events{app="bank",generation="1",partition="1",projection="cells"} 0.0')
            assert await is_ready(service)
            assert await asyncio.to_thread(service.stop) == 0
    (line,) = [line for line in service.lines() if "events are parked" in line]
    assert '"at_fault": 2' in line
    assert "column `note`: NULL" in line


async def says(service: Service, line: str) -> bool:
    """Whether this is among its metrics."""
    return f"bennu_qserver_{line}" in await metrics(service)


def test_what_is_parked_is_told(tmp_path: Path, database: str) -> None:
    """Metrics and one line of the log tell it; QServer stays ready, since all else flows."""
    asyncio.run(told(tmp_path, database))


class Teller(Aggregate[State]):
    """Knows deposits alone."""

    @evolves
    def deposited(self, state: State, event: Deposited) -> None:
        """Nothing is remembered."""


@upcasts
def careless(old: Withdrawn) -> Deposited:
    """Can't take an account without a limit."""
    return Deposited(account=old.account, amount_minor=[5][old.amount_minor])


@upcasts
def careful(old: Withdrawn) -> Deposited:
    """Can take any."""
    return Deposited(account=old.account, amount_minor=old.amount_minor)


def upcasting(upcast: Callable[[Withdrawn], Deposited]) -> App:
    """The cells, of an app whose withdrawals are old deposits."""
    return App("bank", service=nothing_called(), aggregates=(Teller,), upcasters=(upcast,), projections=(Cells,))


async def upcast_at_last(dsn: str) -> None:
    """An old event whose upcaster raises, and a new one of its key; then the upcaster is mended."""
    world = Letters(dsn)
    await world.create()
    await world.say(Withdrawn(account="a", amount_minor=7), Deposited(account="a", amount_minor=1))
    async with connected(dsn) as connection:
        async with world.looping(upcasting(careless)):
            await until(lambda: connection.fetchval("SELECT count(*) = 2 FROM bennu.dead_letters WHERE key = 'a'"))
            problem = await connection.fetchval("SELECT problem FROM bennu.dead_letters WHERE seq = 1")
            assert "the rule for bank.v1.Withdrawn raised IndexError" in problem
        await connection.execute("UPDATE bennu.dead_letters SET wish = 'retry' WHERE seq = 1")
        async with world.looping(upcasting(careful)):
            await until(lambda: connection.fetchval("SELECT total = 8 FROM bank.cells"))


def test_a_retry_goes_through_the_upcasters(database: str) -> None:
    """An old event is kept as it is in the journal, and parked under the key of the newest form."""
    asyncio.run(upcast_at_last(database))


async def of_sagas(dsn: str) -> list[tuple[str, str]]:
    """A record that says what no build knows, in the journal of two sagas; what is parked."""
    saga = SagaJournal()
    await saga.begin()
    await saga.batch(SagaStarted(saga_id="S:t"), SagaEnded(saga_id="S:t", status=99))  # type: ignore[arg-type]
    await saga.batch(SagaStarted(saga_id="S:u"), SagaParked(saga_id="S:t", reason="so"))
    async with shown(saga, dsn) as connection:
        assert [row["saga_id"] for row in await connection.fetch("SELECT * FROM bank.sagas ORDER BY 1")] == [
            "S:t",
            "S:u",
        ]
        rows = await connection.fetch("SELECT * FROM bennu.dead_letters WHERE aggregate = 'saga' ORDER BY seq")
        return [(row["key"], row["type"]) for row in rows]


def test_records_of_sagas_are_parked_by_saga(database: str) -> None:
    """The saga's later records wait; other sagas are shown."""
    assert asyncio.run(of_sagas(database)) == [("S:t", "bennu.v1.SagaEnded"), ("S:t", "bennu.v1.SagaParked")]
