"""Long work on the one event loop goes in slices; this is what comes between two of them."""

import asyncio
from collections.abc import Callable

from bennu.limits import IDLE_TURN_US, TURNS_BETWEEN_SLICES


def loop_us() -> int:
    """The loop's own time: exact where it is virtual, and coarse elsewhere."""
    return int(asyncio.get_running_loop().time() * 1_000_000)


class Pauses:
    """One process's, over all its partitions and streams: between two turns of its loop it does one slice at most.

    A call goes through a dozen turns, each of which follows from the one before, and waited for a slice in most of them
    when slices came at fixed distances.  So a slice comes after a turn in which nobody had anything to do, or after
    `TURNS_BETWEEN_SLICES`, and those who do slices come one after the other.
    """

    def __init__(self, now_us: Callable[[], int] = loop_us) -> None:
        self._now_us = now_us
        self._line = asyncio.Lock()

    async def pause(self) -> None:
        """Return when the next slice may be done, which is to be done before anything else is awaited."""
        async with self._line:
            for _ in range(TURNS_BETWEEN_SLICES):
                began_us = self._now_us()
                await asyncio.sleep(0)
                if self._now_us() - began_us <= IDLE_TURN_US:
                    return
