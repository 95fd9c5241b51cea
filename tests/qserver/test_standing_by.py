"""A loop that meets another one: it stands by, is none the worse for it, and ends when it is told to."""

import asyncio
from typing import Any, cast

import pytest

from bank.projections import Ledger
from bennu.cancellation import is_cancelled
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.ops.metrics import Metrics
from bennu.ops.readiness import Readiness
from bennu.replica.journal import Position
from bennu_qserver.database import Database
from bennu_qserver.dispatch import compile_projections
from bennu_qserver.errors import PositionMoved
from bennu_qserver.parked import Parked
from bennu_qserver.projection_loop import Outside, Partition, ProjectionLoop
from bennu_qserver.status import Board
from tests.qserver.loops import bank_with


class Anything:
    """A Postgres that says what the loop wants to hear."""

    async def run(self, _work: object) -> tuple[Position, Parked]:
        return Position("bank-events-0"), Parked()


class Met(ProjectionLoop):
    """Its position is always moved by another one."""

    def __init__(self) -> None:
        (declared,) = compile_projections(bank_with(Ledger))
        outside = Outside(MemoryLog(MemoryBroker()), cast(Database, Anything()), Board(Readiness()))
        partition = Partition(0, 1, "bank-events-0")
        super().__init__(declared.in_generation(1), partition, outside=outside, metrics=Metrics())
        self.ending, self.let_end = asyncio.Event(), asyncio.Event()
        self.rounds: list[bool] = []
        self.enough = asyncio.Event()

    async def _read(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:  # what a reader does at its end takes a while, too
            self.ending.set()
            await self.let_end.wait()

    async def _write(self) -> Any:  # noqa: ANN401 - it never returns
        await asyncio.sleep(0)
        raise PositionMoved("moved")

    async def _stand_by(self) -> None:
        self.rounds.append(is_cancelled())
        if len(self.rounds) == 3:
            self.enough.set()
            await asyncio.Event().wait()


async def met_again_and_again() -> list[bool]:
    """Whether it takes itself for cancelled, each time that it stands by."""
    loop = Met()
    loop.let_end.set()
    task = asyncio.create_task(loop.run())
    await loop.enough.wait()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    return loop.rounds


async def told_to_end_meanwhile() -> list[bool]:
    """It is cancelled while its parts are ending because of the position."""
    loop = Met()
    task = asyncio.create_task(loop.run())
    await loop.ending.wait()
    task.cancel()
    await asyncio.sleep(0)
    loop.let_end.set()
    await asyncio.wait({task})
    assert task.cancelled()
    return loop.rounds


def test_who_stands_by_is_not_taken_for_cancelled() -> None:
    """Else the first trouble with Postgres afterwards would end it for good, without a word."""
    assert asyncio.run(met_again_and_again()) == [False, False, False]


@pytest.mark.filterwarnings("error")
def test_a_request_to_end_is_not_lost_at_a_meeting() -> None:
    """Else it would go on in a partition that is no longer this process's."""
    assert asyncio.run(told_to_end_meanwhile()) == []
