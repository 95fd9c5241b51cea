"""A saga journal that is older than what participants took of it, and one that only seems to be."""

import asyncio
from collections.abc import Sequence
from unittest import mock

import pytest

from bank.v1.commands_pb2 import Deposit
from bennu.errors import JournalBroken
from bennu.log.memory import MemoryLog
from bennu.log.port import Record
from bennu.replica.leader import Replica
from tests.cserver.commands import batch_of
from tests.saga.world import World, simulated

SEED = 20261125
LOST = 3
"""Commands that a participant took of a journal which no longer holds them."""


async def restored(world: World) -> None:
    """The saga journal is one from before commands that were taken."""
    await world.until(lambda: world.cserver.leads and world.saga.leads)
    taken = batch_of([Deposit(account="a", amount_minor=1, currency="EUR")] * LOST)
    taken.source, taken.first_no = "bank-saga-1", 1
    await MemoryLog(world.broker).append("bank-commands-0", taken.SerializeToString())
    await world.saga.gone()
    world.saga.check()


def test_a_journal_older_than_what_was_taken_stops_the_service() -> None:
    """It would give its numbers again, to commands that would be dropped: both numbers are said, and what to do."""
    with pytest.raises(ExceptionGroup) as caught:
        simulated(SEED, restored)
    (broken, *_) = leaves(caught.value)
    assert isinstance(broken, JournalBroken)
    assert str(broken) == (
        f"bank-events-0: command {LOST} of stream bank-saga-1 was taken, but that journal has issued 0 for "
        "bank-commands-0: its end is missing, and others of these numbers would be dropped; restore bank-saga-1 as it "
        "was when they were sent, or later"
    )


def leaves(error: BaseException) -> list[BaseException]:
    """What a group of errors is made of."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for each in error.exceptions for leaf in leaves(each)]


async def deaf(_replica: Replica) -> Sequence[Record]:
    """A leader that hears of another one only by its own appends."""
    await asyncio.get_running_loop().create_future()
    return ()


async def deposed(world: World) -> None:
    """A leader sleeps while another one leads and has commands taken; when it wakes it reads of them."""
    sleeper = world.saga
    await world.accounts("a", "b")
    await world.until(lambda: sleeper.leads)
    sleeper.pause()
    world.start_saga()
    await world.transfer("t", "a", "b")
    await world.until(lambda: world.ended("t"))
    sleeper.resume()
    await world.until(lambda: not sleeper.leads)
    sleeper.check()


@pytest.mark.parametrize("seed", range(SEED, SEED + 5))
def test_who_was_deposed_finds_nothing_wrong(seed: int) -> None:
    """What the next leader issued and had taken is not in its memory: it hears that it was deposed, and follows."""
    with mock.patch.object(Replica, "watch", deaf):
        simulated(seed, deposed)
