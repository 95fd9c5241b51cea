"""`bennu.v1.SagaAdmin`: what operators see of sagas that are under way, and which of them take too long."""

import asyncio
import json
from unittest import mock

import pytest

from bank.v1.commands_pb2 import Transfer
from bank.v1.events_pb2 import TransferRequested
from bennu.v1 import saga_admin_pb2 as pb
from bennu_saga import stuck as counting
from bennu_saga.admin import NoSaga
from bennu_saga.admin_asked import Invalid
from bennu_saga.limits import SURVEY_MS
from bennu_saga.operations import Operation
from bennu_saga.state import COMPENSATE, RESOLVE
from bennu_saga.stuck import stuck
from tests.saga.operating import T, listed, operate, unanswered
from tests.saga.story import DEPOSIT, NOW_US, WITHDRAW, Story, impatient, raises_instead, saga, started, undoable
from tests.saga.world import PARTITIONS, World, simulated

SEED = 20261125
RUNNING = pb.SAGA_STANDING_RUNNING
SERVICE_LEVEL_S = 60
LATE_US = NOW_US + 2 * SERVICE_LEVEL_S * 1_000_000


async def seen_in_lists(world: World) -> None:
    """Transfers that began at different times, one of which is being undone, and one parked."""
    await unanswered(world, "t", "u", "v")
    await operate(world, COMPENSATE, saga_id="TransferSaga:u")
    everybody = [f"TransferSaga:{name}" for name in "tuv"]
    t, u, v = everybody
    assert await listed(world) == everybody
    assert await listed(world, definition="TransferSaga", version=2) == everybody
    assert await listed(world, version=1) == []
    assert await listed(world, standings=[RUNNING]) == [t, v]
    assert await listed(world, standings=[RUNNING, pb.SAGA_STANDING_COMPENSATING]) == everybody
    assert await listed(world, id_prefix="u") == await listed(world, id_prefix=u) == [u]
    assert await listed(world, failing_step="withdraw") == []
    views = [await world.saga.admin.show(pb.ShowSaga(saga_id=name)) for name in everybody]
    started_us = [view.summary.started_at_us for view in views]
    assert started_us == sorted(started_us)
    assert await listed(world, older_than_ms=(views[0].now_us - started_us[1]) // 1000) == [t, u]
    for wrong in ({"definition": "Transfer"}, {"failing_step": "fly"}):
        with pytest.raises(Invalid, match="there are"):
            await listed(world, **wrong)


def test_a_filter_lets_through_what_it_says() -> None:
    """By definition, version, standing, id, age and step; a name that is none is refused: an empty list reassures."""
    simulated(SEED, seen_in_lists)


async def paged(world: World) -> None:
    """Five of them, two a page; most began in one batch."""
    await unanswered(world, "t")
    asked = [Transfer(transfer=f"t{n}", source="a", target="b", amount_minor=1, currency="EUR") for n in range(1, 5)]
    world.saga.pause()
    await asyncio.gather(*(world.ask(each, each.transfer) for each in asked))
    world.saga.resume()
    await world.until(lambda: world.saga_records()["SagaStarted"].total() == 5)
    pages, token = list[list[str]](), ""
    while not pages or token:
        page = await world.saga.admin.page(pb.ListSagas(limit=2, page_token=token))
        pages.append([saga.saga_id for saga in page.sagas])
        token = page.next_page_token
    assert [len(page) for page in pages] == [2, 2, 1]
    assert sorted(name for page in pages for name in page) == [T, *(f"{T}{n}" for n in range(1, 5))]
    with pytest.raises(Invalid, match="page"):
        await world.saga.admin.page(pb.ListSagas(page_token="x"))


def test_pages_hold_each_saga_once() -> None:
    """Also where several began at the same moment."""
    simulated(SEED, paged)


async def in_full(world: World) -> None:
    """A transfer whose withdrawal nobody answers."""
    await unanswered(world, "t")
    view = await world.saga.admin.show(pb.ShowSaga(saga_id=T))
    said = await world.saga.admin.explain(pb.ExplainSaga(saga_id=T))
    withdraw, fee, screening, deposit = view.steps
    assert [each.phase for each in (fee, screening)] == [pb.SAGA_STEP_PHASE_LEFT_OUT] * 2
    assert (withdraw.name, withdraw.phase, withdraw.attempts) == ("withdraw", pb.SAGA_STEP_PHASE_ASKED, 1)
    assert withdraw.due_at_us == withdraw.since_us + SERVICE_LEVEL_S * 1_000_000
    assert withdraw.awaited.startswith("saga:TransferSaga:t:")
    assert (deposit.name, deposit.phase, deposit.attempts) == ("deposit", pb.SAGA_STEP_PHASE_READY, 0)
    assert json.loads(view.trigger_json)["transfer"] == "t"
    assert (list(view.summary.steps), view.service_level_ms) == (["withdraw"], SERVICE_LEVEL_S * 1000)
    assert view.explanation == said.sentence
    assert "waits since" in said.sentence
    with pytest.raises(NoSaga, match="it has ended, or never began"):
        await world.saga.admin.show(pb.ShowSaga(saga_id="TransferSaga:u"))


def test_a_saga_is_shown_in_full() -> None:
    """Steps with phase, attempts, times and commands; the event that started it; and the sentence."""
    simulated(SEED, in_full)


# --- taking too long


def stuck_metric(world: World) -> float:
    """Over all partitions."""
    found = (
        world.saga.metrics.registry.get_sample_value(
            "bennu_sagas_stuck", {"definition": "TransferSaga", "partition": str(number)}
        )
        for number in range(PARTITIONS)
    )
    return sum(filter(None, found))


async def too_long(world: World) -> None:
    """Nobody answers a transfer for longer than it may take; then it is resolved."""
    await unanswered(world, "t")
    await asyncio.sleep(SERVICE_LEVEL_S / 2)
    assert (await listed(world, stuck=True), stuck_metric(world)) == ([], 0)
    await asyncio.sleep(SERVICE_LEVEL_S / 2 + SURVEY_MS / 1000)
    assert (await listed(world, stuck=True), stuck_metric(world)) == ([T], 1)
    await operate(world, RESOLVE)
    await asyncio.sleep(SURVEY_MS / 1000 + 1)
    assert (await listed(world, stuck=True), stuck_metric(world)) == ([], 0)


def test_a_saga_over_its_service_level_is_stuck() -> None:
    """In the list and as a metric, by journaled time, until it ends."""
    simulated(SEED, too_long)


def test_what_waits_for_an_operator_is_not_stuck() -> None:
    """Parked ones, and half undone ones, count apart."""
    goes_on, parked, half_undone = (
        started(WITHDRAW),
        started(undoable("x", when=raises_instead)),
        started(impatient(WITHDRAW), DEPOSIT),
    )
    half_undone.accepts()
    half_undone.refuses("no")
    half_undone.refuses("closed")
    counts = [
        asyncio.run(stuck(each.fold, each.definitions, LATE_US))["Told"] for each in (goes_on, parked, half_undone)
    ]
    assert counts == [1, 0, 0]
    assert (len(parked.fold.parked), len(half_undone.fold.failed)) == (1, 1)


async def ended_meanwhile(story: Story) -> int:
    """Three are late; they are looked at one a turn, and the second one ends after the first was counted."""
    for name in "tuv":
        story.starts(TransferRequested(transfer=name))
    with mock.patch.object(counting, "SAGAS_SLICE", 1):
        found = asyncio.create_task(stuck(story.fold, story.definitions, LATE_US))
        await asyncio.sleep(0)
        story.reactor.operate("Told:u", Operation(RESOLVE, "ann", "ticket 17"), LATE_US)
        return (await found)["Told"]


def test_sagas_go_on_while_the_stuck_ones_are_counted() -> None:
    """A million late ones are not counted in one turn; what ends meanwhile is not counted."""
    assert asyncio.run(ended_meanwhile(Story(saga(WITHDRAW)))) == 2
