"""Whether other processes have written: one timer looks at the files of all readers that wait.

A timer for each reader cost an idle Saga of eight partitions 30 % of a core; with one for all it takes 13 %.
"""

import asyncio
import os
import time
from pathlib import Path
from typing import NamedTuple

from bennu.errors import TopicMissing

BUSY_S = 0.002
IDLE_S = 0.010
BUSY_FOR_S = 1.0
FETCH_ANYWAY_S = 1.0
RACY_NS = 20_000_000


class Look(NamedTuple):
    """How a topic's write-ahead log looks; `at_ns` is when, on the wall clock, as file times are."""

    mtime_ns: int
    size_bytes: int
    inode: int
    at_ns: int


class Watch:
    """One reader's: tells whether some process may have written since `mark`, for the price of one `os.stat`."""

    def __init__(self, topic: str, path: Path, lookout: "Lookout") -> None:
        self._topic = topic
        self._path = str(path)
        self._wal = f"{path}-wal"
        self._lookout = lookout
        self._seen = Look(0, 0, 0, 0)
        self._busy_until_s = 0.0
        self._woken: asyncio.Future[None] | None = None
        self._noticed = False
        """The newest change is another process's, as far as is known."""

    def busy(self) -> None:
        """A record came.  Look often for a while, if another process wrote it: where one came, more come."""
        if self._noticed:
            self._busy_until_s = time.monotonic() + BUSY_FOR_S

    def mark(self) -> None:
        """Remember how the files look; called before they are read, so that nothing falls between."""
        self._seen = self._look()
        self._woken = asyncio.get_running_loop().create_future()

    async def wait(self) -> None:
        """Return when the files have changed or `wake` was called since `mark`, and now and then for nothing."""
        assert self._woken is not None, "marked before"
        if self._woken.done():
            return
        self._lookout.add(self)
        try:
            async with asyncio.timeout(FETCH_ANYWAY_S):
                await self._woken
        except TimeoutError:
            return
        finally:
            self._lookout.discard(self)

    def wake(self) -> None:
        """Something was written by this process."""
        self._noticed = False
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    def is_busy(self, now_s: float) -> bool:
        """Whether to look often."""
        return now_s < self._busy_until_s

    def look(self) -> None:
        """Wake the reader if the files have changed, or are gone."""
        assert self._woken is not None, "it waits"
        if self._woken.done():
            return
        try:
            now = self._look()
        except TopicMissing as missing:
            self._woken.set_exception(missing)
            return
        # The kernel's file times move in steps of some ms: a time as young as our last look proves nothing.
        if now[:3] != self._seen[:3] or now.mtime_ns > self._seen.at_ns - RACY_NS:
            self._noticed = True
            self._woken.set_result(None)

    def _look(self) -> Look:
        at_ns = time.time_ns()
        try:
            wal = os.stat(self._wal)  # noqa: PTH116 - `Path.stat` takes twice as long
        except FileNotFoundError:
            if not os.path.exists(self._path):  # noqa: PTH110 - the same
                raise TopicMissing(f"{self._topic}: no file {self._path}") from None
            return Look(0, 0, 0, at_ns)
        return Look(wal.st_mtime_ns, wal.st_size, wal.st_ino, at_ns)


class Lookout:
    """All that wait in this process; looks at the busy ones in short steps, at all in longer ones."""

    def __init__(self) -> None:
        self._watches: set[Watch] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._all_at_s = 0.0

    def add(self, watch: Watch) -> None:
        self._watches.add(watch)
        if self._timer is None:
            self._again(time.monotonic())

    def discard(self, watch: Watch) -> None:
        self._watches.discard(watch)

    def _again(self, now_s: float) -> None:
        pause_s = BUSY_S if any(watch.is_busy(now_s) for watch in self._watches) else IDLE_S
        self._timer = asyncio.get_running_loop().call_later(pause_s, self._look) if self._watches else None

    def _look(self) -> None:
        now_s = time.monotonic()
        everybody = now_s >= self._all_at_s
        if everybody:
            self._all_at_s = now_s + IDLE_S
        for watch in self._watches:
            if everybody or watch.is_busy(now_s):
                watch.look()
        self._again(now_s)
