"""Following a journal: what others append is evolved as it comes, without keeping the event loop."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing

from bennu.errors import Unavailable
from bennu.limits import FOLLOW_CHUNK_BYTES, RETRY_MAX_MS
from bennu.log.port import Record
from bennu.replica.leader import Replica


async def follow(replica: Replica, *, moved: Callable[[], None], caught_up: Callable[[], None]) -> None:
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
