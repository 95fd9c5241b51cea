"""Metrics of sagas: what a process counts, and what it leaves to the one that leads."""

import asyncio

from bennu_saga.limits import SURVEY_MS
from tests.saga.world import PARTITIONS, SagaLife, World, simulated

SEED = 20261125


def value(life: SagaLife, name: str, **labels: str) -> float:
    """Of one metric, over all partitions where it has that label."""
    read = life.metrics.registry.get_sample_value
    numbers = map(str, range(PARTITIONS))
    values = [read(name, labels | {"partition": number}) for number in numbers] + [read(name, labels)]
    return sum(filter(None, values))


async def taken_over(world: World) -> None:
    """One transfer ends; another process takes over, and another one ends."""
    await world.until(lambda: world.saga.leads)
    await world.accounts("a", "b")
    await world.transfer("t", "a", "b")
    await world.until(lambda: world.ended("t"))
    await world.until(lambda: value(world.saga, "bennu_sagas_ended_total", how="completed") == 1)
    world.saga.kill()
    second = world.start_saga()
    await world.until(lambda: second.leads)
    await world.transfer("u", "a", "b")
    await world.until(lambda: world.ended("t", "u"))
    await asyncio.sleep(1)
    assert value(second, "bennu_sagas_started_total") == 1
    assert value(second, "bennu_sagas_ended_total", how="completed") == 1


def test_what_another_process_counted_is_not_counted_again() -> None:
    """Counters of all processes together count each saga once."""
    simulated(SEED, taken_over)


async def given_up(world: World) -> None:
    """A saga stands still; its process stops in order, and another one leads."""
    first = world.saga
    first.log.mute = True
    await world.until(lambda: first.leads)
    await world.accounts("a", "b")
    await world.transfer("t", "a", "b")
    await world.until(lambda: value(first, "bennu_sagas_running") == 1)
    await asyncio.sleep(60 + 2 * SURVEY_MS / 1000)
    assert value(first, "bennu_sagas_stuck", definition="TransferSaga") == 1
    assert value(first, "bennu_outbox_commands") > 0
    await first.stop()
    for name in ("bennu_sagas_running", "bennu_outbox_commands"):
        assert value(first, name) == 0
    assert value(first, "bennu_sagas_stuck", definition="TransferSaga") == 0


def test_who_leads_no_more_shows_nothing() -> None:
    """Sums over processes show each saga once."""
    simulated(SEED, given_up)
