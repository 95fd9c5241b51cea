"""Large transfers: processes die between any two steps, and fee, check and money happen once, or are undone once."""

from functools import partial

import pytest

from bank.transfer import SCREENED_FROM_MINOR
from bank.v1.commands_pb2 import BlockPayee, Deposit
from bennu.log.memory import NO_FAULTS
from tests.saga.test_crashes import ONE_LIFE_STEPS, effects, judge, judge_sagas, misfortune
from tests.saga.world import World, simulated

SEED = 20261129
LARGE_MINOR = SCREENED_FROM_MINOR
ACCOUNTS = ("a", "b", "c")
PAID = effects(
    "paid", "TransferRequested", "Withdrawn", "FeeCharged", "TransferScreened", "Deposited", "TransferCompleted"
)
BLOCKED = effects(
    "blocked", "TransferRequested", "Withdrawn", "FeeCharged", "FeeRefunded", "WithdrawalReversed", "TransferFailed"
)
POOR = effects("poor", "TransferRequested", "FeeCharged", "TransferScreened", "FeeRefunded", "TransferFailed")
"""It has enough for the fee, and not for the amount."""


async def wealth(world: World) -> None:
    """Two accounts with enough for a few large transfers, one that has little, and a payee who is blocked."""
    await world.accounts(*ACCOUNTS)
    for name in ACCOUNTS[:2]:
        await world.ask(Deposit(account=name, amount_minor=5 * LARGE_MINOR, currency="EUR"), f"wealth-{name}")
    await world.ask(BlockPayee(payee="blocked", reason="known for it"), "block")


async def three_large(world: World, kill_at: int) -> int:
    """A saga process dies at this step, if it lives so long; the steps of its life."""
    await wealth(world)
    world.saga.kill()
    await world.saga.gone()
    life = world.start_saga(kill_at=kill_at)
    for name, source, target in (("paid", "a", "b"), ("blocked", "b", "blocked"), ("poor", "c", "a")):
        await world.transfer(name, source, target, amount_minor=LARGE_MINOR)
    names = ("paid", "blocked", "poor")
    await world.until(lambda: life.log.dead or world.ended(*names))
    if life.log.dead:
        await life.gone()
        world.start_saga()
    await world.until(lambda: world.ended(*names))
    judge(world, PAID | BLOCKED | POOR)
    return life.steps


def test_a_saga_may_die_at_any_step() -> None:
    """Wherever a saga process dies, the next one goes on, and each effect stands in the journals exactly once."""
    for kill_at in range(1, ONE_LIFE_STEPS):
        steps = simulated(SEED + kill_at, partial(three_large, kill_at=kill_at))
        print(f"killed at step {kill_at}")
        if steps < kill_at:
            assert kill_at > 20, "a life has more steps than that"
            return
    pytest.fail("a life should end before")


async def many_transfers(world: World) -> None:
    """Large transfers under misfortune, which then ends."""
    await wealth(world)
    names = [f"t{number}" for number in range(10)]
    for name in names:
        source = world.chance.choice(ACCOUNTS)
        target = world.chance.choice([each for each in (*ACCOUNTS, "blocked") if each != source])
        await world.transfer(name, source, target, amount_minor=LARGE_MINOR)
        await misfortune(world)
    world.broker.faults = NO_FAULTS
    if not world.cserver.leads:
        world.cserver.kill()
        world.start_cserver()
    world.saga.kill()
    world.start_saga()
    await world.until(lambda: world.ended(*names))
    happened = world.happened()
    for name in names:
        seen = {event.removeprefix("bank.v1."): count for (of, event), count in happened.items() if of == name}
        assert set(seen.values()) == {1}, f"{name}: {seen}"
        kinds = set(seen)
        if "TransferCompleted" in kinds:
            assert kinds == {event.removeprefix("bank.v1.") for _, event in PAID}, f"{name}: {seen}"
        else:
            assert ("Withdrawn" in kinds, "FeeCharged" in kinds) == (
                "WithdrawalReversed" in kinds,
                "FeeRefunded" in kinds,
            ), f"{name}: {seen}"
            assert "Deposited" not in kinds, f"{name}: {seen}"
    judge_sagas(world)


@pytest.mark.parametrize("seed", range(SEED, SEED + 20))
def test_each_transfer_is_paid_with_its_fee_or_costs_nothing(seed: int) -> None:
    """Processes die, sleep and are replaced, appends are lost, late, doubled; what is undone is undone with its fee."""
    simulated(seed, many_transfers)
