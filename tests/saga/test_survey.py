"""Timers fire when everything that could have answered in time was read, and then they do fire."""

import asyncio
from unittest import mock

from bennu.log.memory import MemoryLog
from bennu_saga.limits import SURVEY_MS
from bennu_saga.observed import Observed
from tests.saga.world import PARTITIONS, World, simulated

SEED = 20261125
TIMEOUT_S = 60


async def unanswered(world: World) -> None:
    """A withdrawal is sent that nobody answers."""
    await world.accounts("a", "b")
    await world.transfer("t", "a", "b")
    world.cserver.kill()
    await world.until(lambda: any(world.broker.records(f"bank-commands-{n}") for n in range(PARTITIONS)))


def fired(world: World) -> int:
    """Timers, so far."""
    return sum(world.saga_records()["SagaTimerFired"].values())


async def punctual(world: World) -> None:
    """Time passes up to the timer, and past it."""
    await unanswered(world)
    await asyncio.sleep(TIMEOUT_S - 2)
    assert fired(world) == 0
    await asyncio.sleep(4)
    assert fired(world) == 1
    await asyncio.sleep(3 * TIMEOUT_S)
    assert fired(world) == 1


def test_a_timer_fires_once_when_it_is_due() -> None:
    """Neither before its time nor twice."""
    simulated(SEED, punctual)


async def blind(world: World) -> None:
    """Nobody can say where the inputs end."""
    await unanswered(world)
    world.saga.log.away = True
    await asyncio.sleep(10 * TIMEOUT_S)
    assert fired(world) == 0
    world.saga.log.away = False
    await world.until(lambda: fired(world) == 1)


def test_no_timer_fires_while_the_log_is_away() -> None:
    """Where the inputs end is not known, so an answer may stand there."""
    simulated(SEED, blind)


async def grow(world: World) -> None:
    """The inputs get a record every few seconds, for ever: an old claim, which is void, and to be read all the same."""
    log = MemoryLog(world.broker)
    while True:
        for number in range(PARTITIONS):
            claim = world.broker.records(f"bank-events-{number}")[0]
            assert claim is not None
            await log.append(f"bank-events-{number}", claim)
        await asyncio.sleep(SURVEY_MS / 1000 - 1)


async def lagging(world: World) -> None:
    """The inputs grow all the time, and are read more slowly than their ends are asked for."""
    await unanswered(world)
    world.saga.log.read_pause_s = 2 * SURVEY_MS / 1000
    growing = asyncio.create_task(grow(world))
    await world.until(lambda: fired(world) == 1)
    growing.cancel()


def test_timers_fire_also_under_constant_lag() -> None:
    """It is enough to have read up to where the inputs ended when the timer was due."""
    simulated(SEED, lagging)


async def counted(world: World) -> int:
    """A timer is due and can't fire; how often the stuck sagas are counted in the time of ten surveys."""
    await unanswered(world)
    world.saga.log.away = True
    await asyncio.sleep(2 * TIMEOUT_S)
    with mock.patch.object(Observed, "look", autospec=True) as look:
        await asyncio.sleep(10 * SURVEY_MS / 1000)
    return look.call_count


def test_stuck_sagas_are_counted_no_oftener_while_a_timer_is_due() -> None:
    """The ends of the inputs are asked for at every tick then; a walk over all that are late is not for every tick."""
    assert 9 * PARTITIONS <= simulated(SEED, counted) <= 11 * PARTITIONS
