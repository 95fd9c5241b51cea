"""A saga process dies between any two of its steps; the next one goes on, and everything happens exactly once."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from functools import partial
from unittest import mock

import pytest

from bank.v1.commands_pb2 import Transfer
from bennu.log.memory import NO_FAULTS, Faults
from bennu.wire.partitioning import partition_of
from bennu_saga import observed, saga_loop
from bennu_saga.reactor import DUPLICATE_START
from tests.saga.world import PARTITIONS, START_MINOR, World, simulated

SEED = 20261125
ONE_LIFE_STEPS = 400
"""More than a life without misfortune takes."""


def effects(name: str, *happened: str) -> dict[tuple[str, str], int]:
    """Each of these events of a transfer, once."""
    return {(name, f"bank.v1.{event}"): 1 for event in happened}


EXPECTED: Mapping[tuple[str, str], int] = {
    **effects("good", "TransferRequested", "Withdrawn", "Deposited", "TransferCompleted"),
    **effects("nobody", "TransferRequested", "Withdrawn", "WithdrawalReversed", "TransferFailed"),
    **effects("too-much", "TransferRequested", "TransferFailed"),
}
ONE_EURO = {"amount_minor": 100, "currency": "EUR"}
NAMES = ("good", "nobody", "too-much")


async def ask_three(world: World) -> None:
    """One transfer that completes, one that is compensated, one refused at its first step."""
    await world.transfer("good", "a", "b")
    await world.transfer("nobody", "b", "unknown")
    await world.transfer("too-much", "a", "b", amount_minor=2 * START_MINOR)


def judge(world: World, expected: Mapping[tuple[str, str], int]) -> None:
    """What happened for transfers is exactly this, and all is well with their sagas."""
    happened = {what: count for what, count in world.happened().items() if what[0]}
    assert happened == expected
    judge_sagas(world)


def judge_sagas(world: World) -> None:
    """Each saga ended once, no event was reacted to twice, and a replay agrees with the journal's digests."""
    assert not [line for line in world.said if line["event"] == observed.SAID[DUPLICATE_START]]
    records = world.saga_records()
    assert records["SagaStarted"] == records["SagaEnded"] == Counter(dict.fromkeys(records["SagaStarted"], 1))
    folds = [world.replayed(number) for number in range(PARTITIONS)]
    assert [fold.sagas for fold in folds] == [{}] * PARTITIONS
    assert [fold.awaiting for fold in folds] == [{}] * PARTITIONS


async def three_transfers(world: World, kill_at: int) -> int:
    """A saga process dies at this step, if it lives so long; the steps of its life."""
    await world.accounts("a", "b")
    world.saga.kill()
    await world.saga.gone()
    life = world.start_saga(kill_at=kill_at)
    await ask_three(world)
    await world.until(lambda: life.log.dead or world.ended(*NAMES))
    if life.log.dead:
        await life.gone()
        world.start_saga()
    await world.until(lambda: world.ended(*NAMES))
    judge(world, EXPECTED)
    return life.steps


def test_a_saga_may_die_at_any_step() -> None:
    """Wherever a saga process dies, the next one goes on, and each effect stands in the journals exactly once."""
    for kill_at in range(1, ONE_LIFE_STEPS):
        steps = simulated(SEED + kill_at, partial(three_transfers, kill_at=kill_at))
        print(f"killed at step {kill_at}")
        if steps < kill_at:
            assert kill_at > 20, "a life has more steps than that"
            return
    pytest.fail("a life should end before")


async def one_batch(world: World, kill_at: int) -> int:
    """As above, for transfers that one batch of events asks for, each reacted to in a batch of its own."""
    await world.accounts("a", "b")
    world.saga.kill()
    await world.saga.gone()
    names = [name for name in (f"t{n}" for n in range(20)) if partition_of(name, PARTITIONS) == 0][:4]
    await world.ask_together(*(Transfer(transfer=n, source="a", target="b", **ONE_EURO) for n in names))  # type: ignore[arg-type]  # fields of two types
    life = world.start_saga(kill_at=kill_at)
    await world.until(lambda: life.log.dead or world.ended(*names))
    if life.log.dead:
        await life.gone()
        world.start_saga()
    await world.until(lambda: world.ended(*names))
    whole = ("TransferRequested", "Withdrawn", "Deposited", "TransferCompleted")
    judge(world, {what: 1 for name in names for what in effects(name, *whole)})
    assert sum(world.saga_records()["SagaInputPart"].values()) > 0
    return life.steps


def test_a_saga_may_die_within_an_input_batch() -> None:
    """Where only a part of an input batch is journaled, the next process reacts to the rest, and only to the rest."""
    with mock.patch.object(saga_loop, "REACT_CHUNK", 1):
        for kill_at in range(1, ONE_LIFE_STEPS):
            steps = simulated(SEED + kill_at, partial(one_batch, kill_at=kill_at))
            print(f"killed at step {kill_at}")
            if steps < kill_at:
                return
    pytest.fail("a life should end before")


MOODS = (
    NO_FAULTS,
    Faults(delay=1.0, delay_max_ms=30),
    Faults(drop=0.05, refuse=0.05, duplicate=0.1, unknown=0.1, late=0.05, delay=0.5, late_max_ms=2_000),
    Faults(unknown=0.4, late=0.2, duplicate=0.2, delay=0.5, delay_max_ms=300, late_max_ms=5_000),
)
TARGETS = ("a", "b", "c", "unknown")
LEGAL_ENDS = (
    {"TransferRequested", "Withdrawn", "Deposited", "TransferCompleted"},
    {"TransferRequested", "Withdrawn", "WithdrawalReversed", "TransferFailed"},
    {"TransferRequested", "TransferFailed"},
)


async def misfortune(world: World) -> None:
    """One thing goes wrong: a process dies or sleeps while another takes over, or the broker's mood turns."""
    what = world.chance.randrange(4)
    if what == 0:
        world.saga.kill()
        world.start_saga()
    elif what == 1:
        world.cserver.kill()
        world.start_cserver()
    elif what == 2:
        sleeper = world.saga
        sleeper.pause()
        asyncio.get_running_loop().call_later(world.chance.random() * 5, sleeper.resume)
        world.start_saga()
    else:
        world.broker.faults = world.chance.choice(MOODS)
    await asyncio.sleep(world.chance.random() * world.chance.choice((0.02, 0.3, 2.0)))


async def many_transfers(world: World) -> None:
    """Transfers under misfortune, which then ends."""
    await world.accounts("a", "b", "c")
    names = [f"t{number}" for number in range(12)]
    for name in names:
        source, target = world.chance.choice(TARGETS[:3]), world.chance.choice(TARGETS)
        amount_minor = world.chance.choice((1, 10, 2 * START_MINOR))
        await world.transfer(name, source if source != target else "unknown", target, amount_minor=amount_minor)
        await misfortune(world)
    world.broker.faults = NO_FAULTS
    world.saga.kill()
    await asyncio.sleep(6)  # whatever is late has landed, whoever sleeps is awake
    world.start_saga()
    if not world.cserver.leads:
        world.cserver.kill()
        world.start_cserver()
    await world.until(lambda: world.ended(*names))
    happened = world.happened()
    for name in names:
        seen = {event.removeprefix("bank.v1."): count for (of, event), count in happened.items() if of == name}
        assert set(seen) in LEGAL_ENDS, f"{name}: {seen}"
        assert set(seen.values()) == {1}, f"{name}: {seen}"
    judge_sagas(world)


@pytest.mark.parametrize("seed", range(SEED, SEED + 40))
def test_each_transfer_ends_once_whatever_goes_wrong(seed: int) -> None:
    """Processes die, sleep and are replaced, appends are lost, late, doubled; each transfer ends, each effect once."""
    simulated(seed, many_transfers)


async def slow_cserver(world: World) -> None:
    """CServer is away for longer than a withdrawal may take."""
    await world.accounts("a", "b")
    await world.transfer("slow", "a", "b")
    world.cserver.kill()
    await asyncio.sleep(90)
    world.start_cserver()
    await world.until(lambda: world.ended("slow"))
    judge(world, effects("slow", "TransferRequested", "Withdrawn", "WithdrawalReversed", "TransferFailed"))
    assert sum(world.saga_records()["SagaTimerFired"].values()) == 1


def test_a_step_that_was_given_up_is_undone_if_it_happened_all_the_same() -> None:
    """A withdrawal that comes after its time is reversed: its compensation stands behind it in the same log."""
    simulated(SEED, slow_cserver)


async def slow_saga(world: World) -> None:
    """Saga is away for longer than a withdrawal may take, but the answer is there."""
    await world.accounts("a", "b")
    await world.transfer("kept", "a", "b")
    world.cserver.kill()
    await world.until(lambda: any(world.broker.records(f"bank-commands-{n}") for n in range(PARTITIONS)))
    world.saga.kill()
    world.start_cserver()
    await world.until(lambda: world.happened()["kept", "bank.v1.Withdrawn"] == 1)
    await asyncio.sleep(3_600)
    world.start_saga()
    await world.until(lambda: world.ended("kept"))
    judge(world, effects("kept", "TransferRequested", "Withdrawn", "Deposited", "TransferCompleted"))


def test_no_step_is_given_up_because_nobody_looked() -> None:
    """After an hour without a saga process an answer that was journaled in time is read before a timer may fire."""
    simulated(SEED, slow_saga, advance_s=2 * 3_600)
