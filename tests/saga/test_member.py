"""A saga process's part in its partitions: taking over, stepping down, standing by, stopping."""

import asyncio

import pytest

from bennu.errors import BadSettings
from bennu.limits import RESOLVE_TIMEOUT_MS, STOP_GRACE_MS
from bennu.log.memory import NO_FAULTS, Faults
from bennu.members.limits import FAREWELL_MS
from bennu_saga.definitions import Definitions
from bennu_saga.limits import SURVEY_MS
from tests.saga.story import DEPOSIT, app_with, saga
from tests.saga.world import PARTITIONS, World, simulated

SEED = 20261125
SILENCE = Faults(drop=1.0)


def reasons(world: World) -> list[str]:
    """Why each partition is not ready; empty for one that is."""
    conditions = world.saga.readiness.report()["conditions"]
    assert isinstance(conditions, dict)
    return [condition["reason"] for condition in conditions.values()]


async def leads(world: World) -> None:
    """Wait until the saga process does."""
    await world.until(lambda: world.saga.leads and world.saga.readiness.ready)


async def unresolved(world: World) -> None:
    """Appends get lost for longer than they may stay unresolved."""
    await leads(world)
    await world.accounts("a", "b")
    await world.transfer("t", "a", "b")
    world.broker.faults = SILENCE
    await world.until(lambda: not world.saga.readiness.ready)
    await world.until(lambda: not world.saga.leads)
    assert any("stayed without a known outcome" in str(line.get("reason")) for line in world.said)
    world.broker.faults = NO_FAULTS
    await leads(world)
    await world.until(lambda: world.ended("t"))


def test_who_can_not_append_steps_down_and_leads_again() -> None:
    """An append unresolved for too long costs leadership and readiness, and nothing else, once the log is back."""
    simulated(SEED, unresolved)


async def shared(world: World) -> None:
    """A second process comes, and then the first one is killed."""
    first = world.saga
    await leads(world)
    second = world.start_saga()
    await world.until(lambda: all(member.followed or member.partition for member in second.members))
    await world.accounts("a", "b")
    await world.transfer("t", "a", "b")
    await world.until(lambda: world.ended("t"))
    first.kill()
    await leads(world)
    await world.transfer("u", "a", "b")
    await world.until(lambda: world.ended("t", "u"))


def test_who_comes_follows_and_takes_over_from_who_dies() -> None:
    """Two processes share the partitions; the one that is left leads all of them, and no saga stays on its way."""
    simulated(SEED, shared)


async def other_app(world: World) -> None:
    """A saga is under way when an app takes over that lacks its definition."""
    await leads(world)
    await world.accounts("a", "b")
    await world.transfer("t", "a", "b")
    world.cserver.kill()
    await world.until(lambda: bool(world.saga_records()["SagaStarted"]))
    right, wrong = world.saga, world.start_saga(definitions=Definitions(app_with(saga(DEPOSIT))))
    await wrong.gone()
    with pytest.raises(BadSettings, match="1 sagas of TransferSaga, version 2, are under way"):
        wrong.check()
    world.saga = right
    world.start_cserver()
    await world.until(lambda: world.ended("t"))
    assert right.leads


def test_an_app_that_lacks_a_saga_under_way_must_not_lead() -> None:
    """It ends, naming saga and version, before it claims any partition; the process that leads them goes on."""
    simulated(SEED, other_app)


async def stop(world: World) -> None:
    """It is told to stop with positions that are not journaled yet."""
    await world.accounts("a", "b")
    await leads(world)
    await world.until(lambda: all(member.partition.seen for member in world.saga.members if member.partition))
    await world.saga.stop()
    for number in range(PARTITIONS):
        state = world.replica_state(number)
        for source in range(PARTITIONS):
            topic = f"bank-events-{source}"
            assert state.input_offset(topic) == len(world.broker.records(topic))


def test_a_stop_journals_what_was_read() -> None:
    """The next process goes on where this one stood."""
    simulated(SEED, stop)


async def stop_in_silence(world: World) -> None:
    """It is told to stop while an append is on its way to a log that does not answer."""
    loop = asyncio.get_running_loop()
    await leads(world)
    world.broker.faults = SILENCE
    for member in world.saga.members:
        assert member.partition is not None
        member.partition.replica.open.forced = True
        member.partition.wake()
    await asyncio.sleep(0.1)
    told_at = loop.time()
    await world.saga.stop()
    assert loop.time() - told_at <= (STOP_GRACE_MS + FAREWELL_MS) / 1000 + 0.1 < RESOLVE_TIMEOUT_MS / 1000


def test_a_stop_waits_for_no_log() -> None:
    """An append without an answer is given up after the grace: the next process finds out what became of it."""
    simulated(SEED, stop_in_silence)


async def log_away(world: World) -> None:
    """The log stops answering and comes back, with nothing to append meanwhile."""
    await leads(world)
    world.saga.log.away = True
    await world.until(lambda: not world.saga.readiness.ready)
    assert all(reason.startswith("the log is away: bank-events-0: no answer") for reason in reasons(world))
    world.saga.log.away = False
    await asyncio.sleep(SURVEY_MS / 1000 + 1)
    assert world.saga.readiness.ready


def test_an_idle_service_notices_that_its_log_is_away() -> None:
    """Readiness goes and comes back with the log, also when there is nothing to do."""
    simulated(SEED, log_away)


async def log_away_at_start(world: World) -> None:
    """The log does not answer yet."""
    world.saga.kill()
    life = world.start_saga()
    life.log.away = True
    await asyncio.sleep(60)
    life.check()
    assert not life.readiness.ready
    life.log.away = False
    await leads(world)


def test_a_log_that_is_away_at_start_is_waited_for() -> None:
    """Not ready, not ended; and ready once the log is there."""
    simulated(SEED, log_away_at_start)
