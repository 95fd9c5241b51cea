"""`bennu.v1.SagaAdmin`: what operators decide about sagas that are under way."""

import asyncio
from functools import partial
from typing import Any
from unittest import mock

import pytest

from bennu.log.memory import NO_FAULTS, Faults
from bennu.v1 import saga_admin_pb2 as pb
from bennu.wire.partitioning import partition_of
from bennu_saga import admin
from bennu_saga.admin_asked import Invalid
from bennu_saga.admin_trial import try_out
from bennu_saga.fold import Record
from bennu_saga.operations import NotPossible, Operation
from bennu_saga.outbox import Outbox
from bennu_saga.requests import NotBegun, NotLed, OutcomeUnknown, Request
from bennu_saga.state import COMPENSATE, RESOLVE, RETRY, SKIP
from tests.saga.operating import T, decision, listed, operate, operated, unanswered
from tests.saga.world import PARTITIONS, World, simulated

SEED = 20261125
RUNNING = pb.SAGA_STANDING_RUNNING
SILENCE = Faults(drop=1.0)
GONE_ON = "it has gone on since it was looked at"


async def durable_first(world: World) -> None:
    """The log takes nothing for a while."""
    await unanswered(world, "t")
    world.broker.faults = SILENCE
    asked = asyncio.create_task(operate(world, COMPENSATE))
    await asyncio.sleep(5)
    assert not asked.done()
    world.broker.faults = NO_FAULTS
    result = await asked
    assert operated(world) == 1
    assert (result.outcome, result.text) == (
        pb.SAGA_OUTCOME_DONE,
        "asks bank for the compensation of step `withdraw` by bank.v1.ReverseWithdrawal",
    )
    assert result.position.startswith("bank-saga-")


def test_a_decision_is_durable_before_it_is_answered() -> None:
    """While the log takes nothing nobody is told that anything is done."""
    simulated(SEED, durable_first)


async def tried(world: World) -> None:
    """A decision is tried, done, and repeated."""
    await unanswered(world, "t")
    before = world.saga_records()
    would = await operate(world, COMPENSATE, dry_run=True)
    assert would.outcome == pb.SAGA_OUTCOME_WOULD_BE_DONE
    assert world.saga_records() == before
    done = await operate(world, COMPENSATE, seen=would.seen)
    assert (done.outcome, done.text) == (pb.SAGA_OUTCOME_DONE, would.text)
    with pytest.raises(NotPossible, match=GONE_ON):
        await operate(world, COMPENSATE, seen=would.seen)
    assert operated(world) == 1


def test_a_dry_run_changes_nothing_and_says_what_is_done_then() -> None:
    """And names the state that it was made on: whoever repeats a decision by that name has one effect."""
    simulated(SEED, tried)


async def refused(world: World) -> None:
    """What is not possible, of a saga that goes on, of one that there is not, and in words that make no sense."""
    await unanswered(world, "t")
    before = world.saga_records()
    for dry_run in (False, True):
        with pytest.raises(NotPossible, match="it goes on by itself"):
            await operate(world, RETRY, dry_run=dry_run)
        with pytest.raises(NotPossible, match="no saga TransferSaga:u is under way"):
            await operate(world, RESOLVE, dry_run=dry_run, saga_id="TransferSaga:u")
    anonymous = pb.OperateSaga(decision=pb.SagaDecision(operation=RETRY, reason="x"), target=pb.SagaTarget(saga_id=T))
    with pytest.raises(Invalid, match="has an actor and a reason"):
        await world.saga.admin.operate(anonymous)
    with pytest.raises(Invalid, match="a skip names its step"):
        await operate(world, SKIP)
    assert world.saga_records() == before


def test_what_is_not_possible_is_refused_and_changes_nothing() -> None:
    """With the reason, tried or done."""
    simulated(SEED, refused)


async def elsewhere(world: World) -> None:
    """Two processes; the one that follows a saga is asked."""
    await unanswered(world, "t")
    number, lives = partition_of(T, PARTITIONS), [world.saga, world.start_saga()]
    await world.until(lambda: all(life.members[number].partition or life.members[number].followed for life in lives))
    leads, asked = sorted(lives, key=lambda life: life.members[number].partition is None)
    world.saga = asked
    await world.until(lambda: asked.group.somebody_leads(number))
    with pytest.raises(
        NotLed, match=rf"partition {number}, .* not led here; {leads.name}, at {leads.name}\.test:1, does"
    ):
        await operate(world, COMPENSATE)
    found = await asked.admin.find_leaders(pb.FindLeaders())
    assert found.leaders[number] == pb.SagaLeader(node=leads.name, address=f"{leads.name}.test:1")
    assert operated(world) == 0


def test_who_does_not_lead_names_the_leader() -> None:
    """With its address, so that it can be asked there."""
    simulated(SEED, elsewhere)


async def unknown(world: World) -> None:
    """The log takes nothing for longer than a leader waits."""
    await unanswered(world, "t")
    world.broker.faults = SILENCE
    with pytest.raises(OutcomeUnknown, match="lost its leader meanwhile; it may be done all the same"):
        await operate(world, COMPENSATE)
    with pytest.raises(NotLed, match="nobody is known to"):
        await operate(world, COMPENSATE)
    world.broker.faults = NO_FAULTS


def test_what_is_not_known_is_not_called_refused() -> None:
    """A leader that ends meanwhile says so; whoever is asked after that has done nothing, and says so."""
    simulated(SEED, unknown)


async def stopping(world: World) -> None:
    """The process is told to stop, and a decision is still in line."""
    await unanswered(world, "t")
    partition = world.saga.members[partition_of(T, PARTITIONS)].partition
    assert partition is not None
    partition.stop()
    request = Request(T, Operation(COMPENSATE, "ann", "ticket 17"))
    partition.operate(request)
    await world.saga.stop()
    with pytest.raises(NotLed, match="before its turn: it is not done"):
        await request.settled()
    assert operated(world) == 0


def test_a_decision_whose_turn_never_comes_is_not_done() -> None:
    """And whoever waits for it is told that."""
    simulated(SEED, stopping)


def gone_on(world: World) -> None:
    """The first transfer is decided about by somebody else, at once."""
    partition = world.saga.members[partition_of(T, PARTITIONS)].partition
    assert partition is not None
    partition.operate(Request(T, Operation(COMPENSATE, "bob", "ticket 16")))
    partition.react_some()


async def led_once(world: World) -> None:
    """What was looked at is not effective when the leadership ends, and somebody comes to wait for it after that."""
    await unanswered(world, "t")
    partition = world.saga.members[partition_of(T, PARTITIONS)].partition
    assert partition is not None
    gone_on(world)
    partition.abandon()
    waiting: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    partition.waiters.add(waiting)
    assert (waiting.done(), waiting.result()) == (True, "")


def test_who_comes_after_a_leadership_does_not_wait_for_it() -> None:
    """Nothing becomes effective there any more."""
    simulated(SEED, led_once)


async def no_turn(world: World) -> None:
    """The outbox is full, and its log takes nothing."""
    await unanswered(world, "t")
    with mock.patch.object(Outbox, "full", new=True):
        with pytest.raises(NotBegun, match="is not done: do the command logs take any"):
            await operate(world, COMPENSATE)
        assert await listed(world) == [T]
    await operate(world, RESOLVE)
    assert operated(world) == 1


def test_a_decision_waits_for_room_and_not_for_ever() -> None:
    """What did not have its turn in time is never done; looking needs no room."""
    simulated(SEED, no_turn)


async def in_bulk(world: World) -> None:
    """Three transfers that nobody answers; two of them are undone, by a filter, then all, by name."""
    await unanswered(world, "t", "u", "v")
    asked = pb.OperateSagas(
        decision=decision(COMPENSATE, dry_run=True), filter=pb.SagaFilter(standings=[RUNNING]), limit=2
    )
    would = await world.saga.admin.operate_all(asked)
    assert [each.saga_id for each in would.results] == ["TransferSaga:t", "TransferSaga:u"]
    targets = [pb.SagaTarget(saga_id=each.saga_id, seen=each.seen) for each in would.results]
    done = await world.saga.admin.operate_all(pb.OperateSagas(decision=decision(COMPENSATE), targets=targets))
    assert [each.outcome for each in done.results] == [pb.SAGA_OUTCOME_DONE] * 2
    targets += [pb.SagaTarget(saga_id=f"TransferSaga:{name}") for name in ("v", "nobody")]
    again = await world.saga.admin.operate_all(pb.OperateSagas(decision=decision(COMPENSATE), targets=targets))
    assert [(each.outcome, each.text.partition(":")[0]) for each in again.results[:2]] == [
        (pb.SAGA_OUTCOME_REFUSED, GONE_ON)
    ] * 2
    assert [each.outcome for each in again.results[2:]] == [pb.SAGA_OUTCOME_DONE, pb.SAGA_OUTCOME_REFUSED]
    assert operated(world) == 3
    for wrong in (
        pb.OperateSagas(decision=decision(RETRY)),
        pb.OperateSagas(decision=decision(RETRY), filter=pb.SagaFilter()),
    ):
        with pytest.raises(Invalid):
            await world.saga.admin.operate_all(wrong)


def test_many_are_decided_about_at_once_with_a_result_for_each() -> None:
    """As many as the limit says, by a filter or by name; one that is refused keeps no other one."""
    simulated(SEED, in_bulk)


async def overtaken(world: World, *, dry_run: bool) -> None:
    """The first one goes on while others are looked at."""
    await unanswered(world, "t", "u")
    wanted = pb.SagaFilter(standings=[RUNNING])
    asked = pb.OperateSagas(decision=decision(SKIP, step="withdraw", dry_run=dry_run), filter=wanted, limit=2)
    with mock.patch.object(admin, "SAGAS_SLICE", 1):
        answering = asyncio.create_task(world.saga.admin.operate_all(asked))
        await asyncio.sleep(0)
        gone_on(world)
        first, second = (await answering).results
    assert (first.outcome, first.text.partition(":")[0]) == (pb.SAGA_OUTCOME_REFUSED, GONE_ON)
    assert second.outcome == (pb.SAGA_OUTCOME_WOULD_BE_DONE if dry_run else pb.SAGA_OUTCOME_DONE)


@pytest.mark.parametrize("dry_run", [False, True])
def test_what_no_longer_passes_a_filter_is_not_decided_about(dry_run: bool) -> None:
    """A decision by filter is made on the state that the filter let through, tried or done."""
    simulated(SEED, partial(overtaken, dry_run=dry_run))


async def turns(counted: list[None]) -> None:
    """Counts the turns of the event loop."""
    while True:
        counted.append(None)
        await asyncio.sleep(0)


async def many_tried(world: World) -> None:
    """Three decisions are tried by one call, and it is written down when."""
    await unanswered(world, "t", "u", "v")
    wanted = pb.SagaFilter(standings=[RUNNING])
    asked = pb.OperateSagas(decision=decision(COMPENSATE, dry_run=True), filter=wanted, limit=3)
    counted, tried_at = list[None](), list[int]()

    def noting(*args: Any, **named: Any) -> list[Record]:  # noqa: ANN401 - whatever it is given
        tried_at.append(len(counted))
        return try_out(*args, **named)

    counting = asyncio.create_task(turns(counted))
    with mock.patch.object(admin, "try_out", noting), mock.patch.object(admin, "TRIALS_SLICE", 1):
        results = (await world.saga.admin.operate_all(asked)).results
    counting.cancel()
    assert [each.outcome for each in results] == [pb.SAGA_OUTCOME_WOULD_BE_DONE] * 3
    assert len(set(tried_at)) == 3


def test_others_have_their_turn_while_many_decisions_are_tried() -> None:
    """Only a few of them are tried in one turn of the event loop: a thousand would hold up what is under way."""
    simulated(SEED, many_tried)
