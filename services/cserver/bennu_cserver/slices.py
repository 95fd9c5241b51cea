"""Long work on the one event loop, in slices so short that everybody else hardly waits."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from bennu.limits import PREPARE_CHUNK, TURNS_BETWEEN_SLICES


def slices_of(count: int) -> Iterator[range]:
    """The commands of a frame that are prepared between two turns of the loop, by index."""
    return (range(first, min(first + PREPARE_CHUNK, count)) for first in range(0, count, PREPARE_CHUNK))


async def let_others() -> None:
    """Between two slices: a call goes through several turns of the loop, and should not wait for a slice in each."""
    for _ in range(TURNS_BETWEEN_SLICES):
        await asyncio.sleep(0)


class Slices:
    """Small work of several streams, which others have their turns between as they have between long work's slices."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._left = 0

    @asynccontextmanager
    async def of(self, commands: int) -> AsyncIterator[None]:
        """So many are prepared inside the block."""
        async with self._lock:
            if self._left < commands:
                await let_others()
                self._left = PREPARE_CHUNK
            self._left -= commands
            yield


def keep_for_good() -> None:
    """What is there now stays: the garbage collector need not look at it again, which took 100 ms each time."""
    gc.collect()
    gc.freeze()
