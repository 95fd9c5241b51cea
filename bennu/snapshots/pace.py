"""How fast a snapshot is taken: beside a leader that must not feel it, or as fast as may be.

What a leader's callers feel is not that a core is shared, as long as the other process is a `nice` one, but the disk:
each MiB of a snapshot is a MiB of Postgres' log, and an fsync of the leader's log waits behind it.  `bennu bench
snapshot` on two cores and one disk, p99 7 ms: 20 ms with 20 MiB/s, 11 with 2, 7.5 with 1.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from bennu.snapshots.limits import PAUSE_MS, REST, WORK_MS

Turn = Callable[[], Awaitable[None]]
"""Lets others have a turn."""


async def give_way() -> None:
    """Others of this process, that are ready, go first."""
    await asyncio.sleep(0)


async def pause() -> None:
    """After a slice that goes to a disk: leave it to others for a while."""
    await asyncio.sleep(PAUSE_MS / 1000)


class Resting:
    """After work for the processor: `REST` times as long as was worked, wherever that was more than a moment.

    What this process has waited, for Postgres or for the processor itself, was no work: its clock is the time that it
    had the processor for, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.process_time) -> None:
        self._clock = clock
        self._since_s = clock()

    async def __call__(self) -> None:
        """A turn for others, when it is time for one."""
        worked_s = self._clock() - self._since_s
        if worked_s * 1000 >= WORK_MS:
            await asyncio.sleep(worked_s * REST)
            self._since_s = self._clock()


class Pace(NamedTuple):
    """Of reading snapshot and journal, and of writing."""

    read: Turn
    write: Turn


AT_ONCE = Pace(give_way, give_way)


def gently() -> Pace:
    """For one replay: no leader on this machine feels it."""
    return Pace(Resting(), pause)
