"""Generations: built beside the live one, switched to at once, and back; whatever is cut off."""

import asyncio
from collections.abc import Callable
from random import Random

import pytest

from bennu.cli.projections_desk import NotPossible
from bennu.ops.generations import CANCEL, CANCELLED, DROP, DROPPED, LIVE, PREVIOUS, SWITCH
from bennu_qserver.limits import POOL_CONNECTIONS
from tests.qserver.managed import MARKS, MARKS2, Journals, Operator, Process, managed, watched
from tests.qserver.serving import connected, until

pytestmark = pytest.mark.real

MANY = POOL_CONNECTIONS + 2
"""Partitions: all connections of the live loops may have to wait for the switch."""

TABLES = (
    "SELECT array_agg(table_name::text ORDER BY table_name) FROM information_schema.tables WHERE table_schema = 'bank'"
)


async def rebuilt(dsn: str) -> None:
    """Projected by one build; then another one declares it otherwise, while events come and somebody reads."""
    journals = Journals(partitions=MANY, seed=51)
    await journals.begin()
    await journals.write(20)
    async with connected(dsn) as connection:
        operator = Operator(connection)
        async with managed(journals.log, dsn, MARKS, partitions=MANY) as process:
            await operator.shows([1], events=journals.events)
            assert process.unmet() == ""
        before = journals.events
        await journals.write(5)
        async with managed(journals.log, dsn, MARKS2, partitions=MANY) as process:
            await until(lambda: told(process.unmet, "`bennu projections rebuild marks`"))
            await operator.shows([1], events=before)  # nobody fills it with what it does not say
            async with watched(dsn):
                assert await operator.rebuild() == 2
                while (await operator.states())[2] != LIVE:
                    await journals.write(3)
                await operator.shows([2], events=journals.events)
            await until(lambda: told(process.unmet, ""))
        assert await operator.states() == {1: PREVIOUS, 2: LIVE}


async def told(say: Callable[[], str], words: str) -> bool:
    """Whether it says so; no words: whether it says nothing."""
    return words in say() if words else not say()


def test_a_changed_declaration_is_rebuilt_beside_the_live_one(database: str) -> None:
    """A build that declares a projection otherwise fills nothing, says what to do, and then switches at once."""
    asyncio.run(rebuilt(database))


async def back_and_forth(dsn: str) -> None:
    """Two builds side by side; each goes on with its own generation, whichever is live."""
    journals = Journals(partitions=2, seed=52)
    await journals.begin()
    await journals.write(30)
    async with (
        connected(dsn) as connection,
        managed(journals.log, dsn, MARKS, partitions=2),
        managed(journals.log, dsn, MARKS2, node="two", partitions=2),
    ):
        operator = Operator(connection)
        await until(lambda: two(operator))
        with pytest.raises(NotPossible, match=r"several builds live.*one \(\w+\), two \(\w+\); --like NODE"):
            await operator.rebuild()
        await operator.rebuild(wish=None, like="two")
        await journals.write(10)
        async with watched(dsn):
            for number, made_by in ((2, 2), (1, 1), (2, 2)):
                await operator.wish(number, SWITCH)
                await journals.write(10)
                await operator.come(number, LIVE)
                await operator.shows([made_by], events=journals.events)
        await operator.wish(1, DROP)
        await operator.come(1, DROPPED)
        assert await connection.fetchval(TABLES) == ["marks", "marks_g2", "sums", "sums_g2"]
        assert await connection.fetchval("SELECT min(generation) FROM bennu.positions") == 2
        await journals.write(10)
        await operator.shows([2], events=journals.events)


async def two(operator: Operator) -> bool:
    """Whether both processes are seen."""
    return len(await operator.desk.workers()) == 2


def test_one_switches_there_and_back(database: str) -> None:
    """What was live before is kept up to date, so a switch back shows all; until it is dropped, with its tables."""
    asyncio.run(back_and_forth(database))


async def cancelled(dsn: str) -> None:
    """A generation is begun, filled, cancelled; then the next one."""
    journals = Journals(seed=53)
    await journals.begin()
    await journals.write(30)
    async with connected(dsn) as connection, managed(journals.log, dsn, MARKS) as process:
        operator = Operator(connection)
        await operator.rebuild(wish=None)
        with pytest.raises(NotPossible, match="generation 2 is built already, for ann"):
            await operator.rebuild()
        await until(lambda: runs(process, ("marks", 2, 0)))
        await operator.wish(2, CANCEL)
        await operator.come(2, CANCELLED)
        await until(lambda: runs(process, ("marks", 1, 0)))
        assert await connection.fetchval(TABLES) == ["marks", "marks_g1", "sums", "sums_g1"]
        assert await operator.rebuild() == 3
        await operator.come(3, LIVE)
        await journals.write(3)
        await operator.shows([1], events=journals.events)


async def runs(process: Process, *places: tuple[str, int, int]) -> bool:
    """Whether these loops are among the process's."""
    return process.places >= set(places)


def test_a_cancelled_one_leaves_nothing(database: str) -> None:
    """Tables and positions are gone, the live one goes on, and the next one has another number."""
    asyncio.run(cancelled(database))


async def cut_off(dsn: str, *, seed: int) -> None:
    """The process is cut off at any moment, also while it switches, until the switch is done."""
    journals, random = Journals(partitions=2, seed=seed), Random(seed)
    await journals.begin()
    await journals.write(60)
    async with connected(dsn) as connection:
        operator = Operator(connection)
        async with managed(journals.log, dsn, MARKS, partitions=2):
            await operator.shows([1], events=journals.events)
        begun = False
        async with watched(dsn):
            while (await operator.states()).get(2) != LIVE:
                async with managed(journals.log, dsn, MARKS2, partitions=2):
                    if not begun:
                        await operator.rebuild()
                        begun = True
                    await journals.write(5)
                    await asyncio.sleep(1 + random.random())  # chance: where it is cut off
        async with managed(journals.log, dsn, MARKS2, partitions=2):
            await operator.shows([2], events=journals.events)


@pytest.mark.parametrize("seed", [54, 55])
def test_a_rebuild_goes_on_wherever_it_is_cut_off(database: str, seed: int) -> None:
    """Each event is in the new tables once, whenever the process ends; readers see the old ones or the new ones."""
    asyncio.run(cut_off(database, seed=seed))
