"""Another version of a saga: what runs ends by the one that it began with, and what is new begins with the newest."""

from bank import transfer, transfer_v2
from bank.transfer import SCREENED_FROM_MINOR
from bank.v1.commands_pb2 import Deposit
from bennu.domain.plan import plan_of
from bennu.v1 import saga_pb2
from bennu_saga.definitions import Definitions
from tests.saga.story import app_with
from tests.saga.world import PARTITIONS, World, events, issued, simulated

SEED = 20261129
FIRST = Definitions(app_with(transfer.TransferSaga))
"""The bank as it was."""
LARGE_MINOR = SCREENED_FROM_MINOR
STEPS = {
    rules.version: (*(step.name for step in plan_of(rules)), "end")
    for rules in (transfer.TransferSaga, transfer_v2.TransferSaga)
}
"""Of each version, and its closing command."""


def versions(world: World) -> dict[str, int]:
    """Of each saga, as the journals have it."""
    journals = [events(world.broker, f"bank-saga-{number}") for number in range(PARTITIONS)]
    started = [event for journal in journals for event in journal if isinstance(event, saga_pb2.SagaStarted)]
    return {each.saga_id.removeprefix("TransferSaga:"): each.version for each in started}


def asked_for(world: World, name: str) -> list[str]:
    """The steps of a transfer's saga, in the order in which they were asked for; `-` before what undoes one."""
    commands = [each for number in range(PARTITIONS) for each in issued(world.broker, f"bank-saga-{number}")]
    mine = [each for each in commands if each.saga_id == f"TransferSaga:{name}"]
    undoes = saga_pb2.SagaCommandRole.SAGA_COMMAND_ROLE_COMPENSATION
    return [f"{'-' * (each.role == undoes)}{STEPS[versions(world)[name]][each.step]}" for each in mine]


async def first_build(world: World, *transfers: tuple[str, str]) -> None:
    """A build that knows version 1 alone begins these transfers, and dies with each of them half way."""
    world.saga.kill()
    await world.saga.gone()
    world.start_saga(definitions=FIRST)
    await world.accounts("a", "b")
    await world.ask(Deposit(account="a", amount_minor=9 * LARGE_MINOR, currency="EUR"), "wealth")
    await world.until(lambda: world.saga.leads)
    for name, target in transfers:
        await world.transfer(name, "a", target)
    world.cserver.kill()
    await world.until(lambda: len(versions(world)) == len(transfers))
    world.saga.kill()
    await world.saga.gone()


async def upgraded(world: World) -> None:
    """The next build takes over their journals."""
    await first_build(world, ("old", "b"), ("old-nobody", "nobody"))
    assert versions(world) == {"old": 1, "old-nobody": 1}
    world.start_saga()
    world.start_cserver()
    await world.transfer("new", "a", "b")
    await world.transfer("new-large", "a", "b", amount_minor=LARGE_MINOR)
    await world.until(lambda: world.ended("old", "old-nobody", "new", "new-large"))
    assert versions(world) == {"old": 1, "old-nobody": 1, "new": 2, "new-large": 2}
    assert asked_for(world, "old") == ["withdraw", "deposit", "end"]
    assert asked_for(world, "old-nobody") == ["withdraw", "deposit", "-withdraw", "end"]
    assert asked_for(world, "new") == ["withdraw", "deposit", "end"]
    assert asked_for(world, "new-large") == ["withdraw", "fee", "screening", "deposit", "end"]
    happened = world.happened()
    assert [happened[name, "bank.v1.TransferCompleted"] for name in ("old", "new", "new-large")] == [1, 1, 1]
    assert happened["old-nobody", "bank.v1.WithdrawalReversed"] == 1
    fees = [name for name, event in happened if event == "bank.v1.FeeCharged"]
    assert fees == ["new-large"]


def test_transfers_of_version_1_end_by_it_and_new_ones_begin_with_version_2() -> None:
    """A journal of version 1 is read by a build that has both; what it holds is completed or undone as it began."""
    simulated(SEED, upgraded)
