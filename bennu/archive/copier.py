"""Reads one topic of the log ahead of its archive, and writes what it is told to."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from itertools import islice
from typing import TypeVar

from bennu.archive import observed as names
from bennu.archive.cut import Part, Waiting
from bennu.archive.history import History
from bennu.archive.joined import check_same
from bennu.archive.limits import CHUNK_BYTES, CHUNK_RECORDS, SAMPLE_S, SYNC_PAUSE_MS
from bennu.archive.observed import Observed
from bennu.archive.writer import TopicWriter
from bennu.errors import OffsetBeyondTail, OffsetGone, TopicMissing, Unavailable
from bennu.limits import TAIL_LOST_AFTER_MS
from bennu.log.port import Log, Record
from bennu.ops.patience import Patience

T = TypeVar("T")


class Copier:
    """One topic.  `archived_to` is where its archive ends; what waits comes behind."""

    def __init__(
        self, writer: TopicWriter, log: Log, more: asyncio.Event, *, ahead: History, observed: Observed
    ) -> None:
        """`more` is set whenever something waits; `ahead` is a history of the topic that nobody else uses."""
        self.topic = writer.topic
        self.archived_to = 0
        self.waiting: deque[Waiting] = deque()
        self._writer = writer
        self._log = log
        self._more = more
        self._ahead = ahead
        self._waiting_bytes = 0
        self._room = asyncio.Event()
        self._observed = observed
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"archive-{writer.topic}")

    async def call(self, work: Callable[[], T]) -> T:
        """In the thread of this topic."""
        return await asyncio.wrap_future(self._thread.submit(work))

    async def open(self) -> None:
        """Come to where the archive ends; again after a failure of the disk.  Raises `OSError`, `RecordBroken`."""
        await self.call(partial(self._writer.open, self.archived_to))

    async def close(self) -> None:
        """What is being written is finished first."""
        try:
            await self.call(self._writer.close)
        finally:
            self._thread.shutdown(wait=False)

    # --- writing

    @property
    def part(self) -> Part:
        """What is archived and what waits."""
        return Part(self.archived_to, self._writer.history.numbers, self.waiting)

    @property
    def is_full(self) -> bool:
        """Nothing more is read until something is archived."""
        return len(self.waiting) >= CHUNK_RECORDS or self._waiting_bytes >= CHUNK_BYTES

    async def write(self, count: int) -> None:
        """Bring so many to the disk.  Raises `OSError`."""
        if count:
            await self.call(partial(self._writer.append, [one.record for one in islice(self.waiting, count)]))

    def archived(self, count: int) -> None:
        """So many that were written count now."""
        for _ in range(count):
            self._waiting_bytes -= len(self.waiting.popleft().record.body)
        self.archived_to += count
        self._room.set()
        if count:
            self._observed.copied(self.topic, count)

    async def seal_if_due(self) -> None:
        """Between two cuts.  Raises `OSError`."""
        await self.call(self._writer.seal_if_due)

    # --- reading

    async def run(self) -> None:
        """Read for ever.  Raises `Final` errors, in a group."""
        async with asyncio.TaskGroup() as group:
            await self._see_that_the_log_goes_on()
            group.create_task(self._read())
            group.create_task(self._watch())

    async def _see_that_the_log_goes_on(self) -> None:
        first, end = await self.bounds()
        last = self._writer.last
        if first > self.archived_to:
            raise self._lost(first)
        await self._wait_for_end(end)
        if last is not None and first < self.archived_to:
            archived = Record(self.archived_to - 1, last)
            async with aclosing(self._log.read(self.topic, archived.offset)) as chunks:
                async for chunk in chunks:
                    check_same(self.topic, chunk[0], archived, where=str(self._writer.folder.parent))
                    break
        self._observed.copying(self.topic)

    async def bounds(self) -> tuple[int, int]:
        """The log's; waits for a log that is away, and for a topic that is not there yet."""
        patience = Patience("the log")
        while True:
            try:
                return await self._log.bounds(self.topic)
            except (Unavailable, TopicMissing) as problem:
                self._observed.waiting(self.topic, problem)
                await patience.wait(problem)

    async def _wait_for_end(self, end: int) -> None:
        """A log may seem short for a moment; one that stays so has lost its end."""
        lost_s = time.monotonic() + TAIL_LOST_AFTER_MS / 1000
        while end < self.archived_to:
            if time.monotonic() >= lost_s:
                raise OffsetBeyondTail(
                    f"{self.topic}: archived up to offset {self.archived_to}, but the log ends before {end}: it has "
                    "lost its end, or the archive is another log's"
                )
            await asyncio.sleep(SYNC_PAUSE_MS / 1000)
            asked_s = time.monotonic()
            _, end = await self.bounds()
            lost_s += time.monotonic() - asked_s  # one that is away says nothing

    def _lost(self, first: int) -> OffsetGone:
        return OffsetGone(
            f"{self.topic}: archived up to offset {self.archived_to}, but the first one that the log keeps is "
            f"{first}: the records between are lost to the archive; keep records longer, and archive to a new folder"
        )

    async def _read(self) -> None:
        ahead = self._ahead
        ahead.resume(self._writer.history.carried())
        try:
            async with aclosing(self._log.read(self.topic, self.archived_to)) as chunks:
                async for chunk in chunks:
                    for record in chunk:
                        self.waiting.append(Waiting(record, ahead.causes(*record), ahead.take(*record)))
                        self._waiting_bytes += len(record.body)
                    self._more.set()
                    await self._wait_for_room()
        except OffsetGone as gone:
            first, _ = await self.bounds()
            raise self._lost(first) from gone

    async def _wait_for_room(self) -> None:
        while self.is_full:
            self._room.clear()
            await self._room.wait()

    async def _watch(self) -> None:
        """Keep lag and headroom up to date.  Raises `OffsetGone` when expiry has overtaken us."""
        while True:
            try:
                bounds = await self._log.bounds(self.topic)
            except Unavailable as problem:
                self._observed.away(names.LOG, problem)
            else:
                self._observed.seen(self.topic, bounds, self.archived_to)
                if bounds[0] > self.archived_to + len(self.waiting):
                    raise self._lost(bounds[0])
            await asyncio.sleep(SAMPLE_S)
