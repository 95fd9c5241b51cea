"""Memory in large pages: where a replica's states lie all over hundreds of megabytes, much of a look at one of them is
the processor's search for its page, above all in a virtual machine.

Linux gives large pages to those who ask, unless `/sys/kernel/mm/transparent_hugepage/enabled` says `never`.  What was
read at the start is moved into them by a thread, while the next is read: moving takes a page away for a
moment, which no caller is to wait for.  A process that gets none goes on as it is.
"""

import asyncio
import ctypes
import os
import re
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import structlog

logger = structlog.get_logger()

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
LARGE_BYTES = 2 * 1024 * 1024
REGION_BYTES = 16 * 1024 * 1024
"""Of a region that holds states, at least.  What smaller ones have, such as threads' stacks, may be a few small pages,
each of which would become a large one."""
MOSTLY = 0.75
"""Of a region that is moved, this share is there already."""
USUAL_BYTES = 96 * 1024 * 1024
"""Of a process without states; it is left alone."""
LOOK_S = 0.2
"""How often it is looked whether memory has grown, while much is read."""
GROWN_BYTES = 32 * 1024 * 1024
"""By which it has to have, to be worth the work ..."""
GROWN_TIMES = 2
"""... and to how many times what it was, while it still grows: what is moved often delays what makes it grow."""
_MAPS = Path("/proc/self/smaps")
_SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_MAPPING = re.compile(r"^(\w+-\w+) (\S{4}) \w+ \S+ (\d+) *(.*)$(?:\n[A-Z].*)*?\nRss: +(\d+) kB$", re.MULTILINE)
"""Addresses, rights, inode, name, and how much is there."""
_MADV_COLLAPSE = 25
"""Since Linux 6.1; an older one refuses it."""


class Region(NamedTuple):
    """Of whole large pages, by address."""

    begin: int
    end: int


class Growth:
    """What of this process's own memory has not been moved yet; `GROWTH` is the one there is."""

    def __init__(self) -> None:
        self._moved_bytes = USUAL_BYTES
        self._one_at_a_time = Lock()

    def move(self, times: float = 1) -> int:
        """Move all, when it has grown by enough, and to so many times; how many bytes were looked at.  It blocks."""
        with self._one_at_a_time:
            there_bytes = _resident_bytes()
            # What was given back, as by one replay before the next one, is not large when it is had again.
            self._moved_bytes = min(self._moved_bytes, max(there_bytes, USUAL_BYTES))
            if there_bytes < max(self._moved_bytes + GROWN_BYTES, self._moved_bytes * times):
                return 0
            regions = list(_own_regions(_MAPS.read_text()))
            for begin, end in regions:
                _advise(begin, end - begin)
            self._moved_bytes = _resident_bytes()
            return sum(end - begin for begin, end in regions)


GROWTH = Growth()


@asynccontextmanager
async def large_pages(over: Callable[[], bool] = lambda: False) -> AsyncGenerator[None, None]:
    """What is there, and what grows within the block, is moved by and by; all of it when it is `over`, and no more."""
    if not _may_be_large():
        yield
        return
    moving = asyncio.create_task(_move_until(over))
    try:
        yield
    finally:
        moving.cancel()
        await asyncio.wait((moving,))
    if not moving.cancelled():
        moving.result()


async def _move_until(over: Callable[[], bool]) -> None:
    try:
        while not over():
            await asyncio.to_thread(GROWTH.move, GROWN_TIMES)
            await asyncio.sleep(LOOK_S)
        await asyncio.to_thread(GROWTH.move)
    except OSError as error:  # such as a container that shows no process its memory
        logger.info("memory stays in small pages", reason=str(error))


def _may_be_large() -> bool:
    """Whether this is Linux, and its operator has not said `never`."""
    return _SWITCH.exists() and "[never]" not in _SWITCH.read_text()


def _own_regions(maps: str) -> Iterator[Region]:
    """The great ones of `/proc/self/smaps` that may be written and are no file's, as far as they are whole pages.

    Most of one has to be there: what it only keeps an address for would be filled.
    """
    for region, *told in _MAPPING.findall(maps):
        first, last = (int(address, 16) for address in region.split("-"))
        rights, inode, name, there_kb = told
        ours = rights == "rw-p" and inode == "0" and name != "[stack]"
        if ours and last - first >= REGION_BYTES and int(there_kb) * 1024 >= (last - first) * MOSTLY:
            yield Region(-(-first // LARGE_BYTES) * LARGE_BYTES, last // LARGE_BYTES * LARGE_BYTES)


def _advise(begin: int, size: int) -> None:
    # What it refuses, such as pages that are not there, stays as it is: nothing depends on it.
    ctypes.CDLL(None).madvise(ctypes.c_void_p(begin), ctypes.c_size_t(size), _MADV_COLLAPSE)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
