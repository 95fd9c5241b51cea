"""Long work on the one event loop, in slices so short that everybody else hardly waits."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from bennu.limits import PREPARE_CHUNK, TURNS_BETWEEN_SLICES
from bennu.replica.pauses import Pauses


def slices_of(count: int, size: int = PREPARE_CHUNK) -> Iterator[range]:
    """The commands of a frame that are prepared between two turns of the loop, by index."""
    return (range(first, min(first + size, count)) for first in range(0, count, size))


async def let_others() -> None:
    """Between two slices of what is seldom done."""
    for _ in range(TURNS_BETWEEN_SLICES):
        await asyncio.sleep(0)


class Slices:
    """Frames of several streams, large and small, one after the other; and pauses of the process after each slice."""

    def __init__(self, pauses: Pauses) -> None:
        self._pauses = pauses
        self._lock = asyncio.Lock()
        self._left = 0

    @property
    def size(self) -> int:
        """How many commands one is of now."""
        return self._pauses.slice_of(PREPARE_CHUNK)

    @asynccontextmanager
    async def of(self, commands: int, client: str) -> AsyncIterator[None]:
        """So many of this client are prepared inside the block."""
        if commands > 1:
            self._pauses.needs_slices(client)
        async with self._lock:
            if self._left < commands:
                await self._pauses.pause()
                self._left = max(commands, self.size)
            self._left -= commands
            yield
