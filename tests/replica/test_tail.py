"""Following, in virtual time: without hurry while nobody waits, and at once when somebody does."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from bank.app import app
from bennu.limits import FOLLOW_PACE_MS
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.log.port import Record
from bennu.replica.clock import SystemClock
from bennu.replica.fold import AggregateFold
from bennu.replica.journal import Position
from bennu.replica.leader import Replica
from bennu.replica.state import ReplicaState
from bennu.replica.tail import Pace, follow
from bennu.testing.loop import run
from tests.journal_writer import JournalWriter

TOPIC = "bank-events-0"
BATCHES = 20
EVERY_S = 0.01


class CountingLog(MemoryLog):
    """Counts what a reader is given at a time."""

    chunks = 0

    async def read(self, topic: str, offset: int) -> AsyncGenerator[Sequence[Record], None]:
        async with aclosing(super().read(topic, offset)) as chunks:
            async for chunk in chunks:
                self.chunks += 1
                yield chunk


class Follower:
    """A replica that follows a journal to which a batch comes every 10 ms."""

    def __init__(self) -> None:
        self.log, self.pace = CountingLog(MemoryBroker()), Pace()
        state = ReplicaState(AggregateFold(app), partition=0, partitions=1)
        self.replica = Replica(self.log, Position(TOPIC), state, clock=SystemClock())
        self.writer = JournalWriter(self.log, TOPIC)
        self.moved = asyncio.Event()

    async def begin(self) -> asyncio.Task[None]:
        """Follow, having caught up."""
        await self.log.create(TOPIC)
        await self.writer.epoch()
        caught_up = asyncio.Event()
        following = asyncio.create_task(follow(self.replica, self.pace, moved=self.moved.set, caught_up=caught_up.set))
        await caught_up.wait()
        self.log.chunks = 0
        return following

    async def write(self) -> None:
        for _ in range(BATCHES):
            await asyncio.sleep(EVERY_S)
            await self.writer.batch([], recorded_at_us=1)

    async def reached_end(self) -> None:
        while self.replica.position.batch_no < self.writer.position.batch_no:
            self.moved.clear()
            await self.moved.wait()


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait((task,))


def test_what_comes_while_nobody_waits_is_read_together() -> None:
    """A follower reads once in each pace, however many batches came; it is never later than that."""

    async def scenario() -> None:
        follower = Follower()
        following = await follower.begin()
        await follower.write()
        now_s = asyncio.get_running_loop().time
        written_s = now_s()
        await follower.reached_end()
        assert now_s() - written_s <= FOLLOW_PACE_MS / 1000
        assert follower.log.chunks <= BATCHES * EVERY_S * 1000 / FOLLOW_PACE_MS + 2
        await ended(following)

    run(scenario())


def test_whoever_waits_is_not_kept() -> None:
    """While somebody waits for what was not read yet, each batch is read when it is there."""

    async def scenario() -> None:
        follower = Follower()
        following = await follower.begin()
        await follower.write()
        with follower.pace.hurry():
            await follower.reached_end()
            now_s = asyncio.get_running_loop().time
            for _ in range(BATCHES):
                await follower.writer.batch([], recorded_at_us=1)
                written_s = now_s()
                await follower.reached_end()
                assert now_s() == written_s
        await ended(following)

    run(scenario())
