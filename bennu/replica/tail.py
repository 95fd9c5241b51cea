"""Following a journal: what others append is evolved as it comes, without keeping the event loop."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager

from bennu.errors import Unavailable
from bennu.limits import FOLLOW_CHUNK_BYTES, FOLLOW_MANY_RECORDS, FOLLOW_PACE_MS, RETRY_MAX_MS
from bennu.log.port import Record
from bennu.replica.leader import Replica


class Pace:
    """A follower is in no hurry, unless somebody waits for what it has not read.

    A read for each batch of a leader costs the log as much as the batch itself; so it reads what came together.
    """

    def __init__(self) -> None:
        self._waiting = 0
        self._asked = asyncio.Event()

    @contextmanager
    def hurry(self) -> Iterator[None]:
        """Somebody waits meanwhile."""
        self._waiting += 1
        self._asked.set()
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._asked.clear()

    async def pause(self) -> None:
        """Let some more come."""
        try:
            async with asyncio.timeout(FOLLOW_PACE_MS / 1000):
                await self._asked.wait()
        except TimeoutError:
            return


async def follow(replica: Replica, pace: Pace, *, moved: Callable[[], None], caught_up: Callable[[], None]) -> None:
    """For ever.  `moved` is called after each step, `caught_up` once all is read that was there at the beginning."""
    end = await _end(replica)
    behind = replica.position.offset < end
    if not behind:
        caught_up()
    async with aclosing(replica.log.read(replica.topic, replica.position.offset)) as chunks:
        async for chunk in chunks:
            for part in _parts(chunk):
                replica.take(part)
                moved()
                await asyncio.sleep(0)  # partitions that this process leads must not wait for a long replay
            if behind and replica.position.offset >= end:
                behind = False
                caught_up()
            if not behind and len(chunk) < FOLLOW_MANY_RECORDS:
                await pace.pause()


async def _end(replica: Replica) -> int:
    while True:
        try:
            return (await replica.log.bounds(replica.topic))[1]
        except Unavailable:
            await asyncio.sleep(RETRY_MAX_MS / 1000)


def _parts(chunk: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Short enough to be evolved between two turns of the loop, or one record."""
    start = size = 0
    for index, record in enumerate(chunk, 1):
        size += len(record.body)
        if size >= FOLLOW_CHUNK_BYTES or index == len(chunk):
            yield chunk[start:index]
            start, size = index, 0
