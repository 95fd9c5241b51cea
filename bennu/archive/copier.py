"""Copies one topic from the log to the archive, each record after those that it refers to."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from typing import TypeVar

from bennu.archive import observed as names
from bennu.archive.history import Cause
from bennu.archive.joined import check_same
from bennu.archive.limits import CHUNK_RECORDS, SAMPLE_S, SYNC_PAUSE_MS
from bennu.archive.observed import Observed
from bennu.archive.writer import TopicWriter
from bennu.errors import OffsetBeyondTail, OffsetGone, TopicMissing, Unavailable
from bennu.limits import TAIL_LOST_AFTER_MS
from bennu.log.port import Log, Record
from bennu.ops.patience import Patience

T = TypeVar("T")


class Shelf:
    """How far each topic is archived; a topic that is not, or no further, is waited for by nobody."""

    def __init__(self) -> None:
        self._writers: dict[str, TopicWriter] = {}
        self._moved = asyncio.Event()

    def put(self, writer: TopicWriter) -> None:
        """It is being archived."""
        self._writers[writer.topic] = writer

    def take_away(self, topic: str) -> None:
        """It is archived no further."""
        self._writers.pop(topic, None)
        self.moved()

    def covers(self, causes: Iterable[Cause]) -> bool:
        """Whether they are archived."""
        return all(map(self._covers, causes))

    def _covers(self, cause: Cause) -> bool:
        writer = self._writers.get(cause.topic)
        if writer is None:
            return True
        if cause.stream:
            return writer.history.numbers.get(cause.stream, 0) >= cause.number
        return writer.next_offset >= cause.offset

    def moved(self) -> None:
        """More is archived."""
        self._moved.set()
        self._moved = asyncio.Event()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return once it holds; looked at whenever more is archived."""
        while not holds():
            await self._moved.wait()


class Copier:
    """One topic, for as long as it runs."""

    def __init__(self, writer: TopicWriter, log: Log, shelf: Shelf, *, observed: Observed) -> None:
        self.topic = writer.topic
        self.writer = writer
        self.began_at: int | None = None
        """The offset at which this process went on."""
        self._log = log
        self._shelf = shelf
        self._observed = observed
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"archive-{writer.topic}")
        shelf.put(writer)

    async def _call(self, work: Callable[[], T]) -> T:
        return await asyncio.wrap_future(self._thread.submit(work))

    async def close(self) -> None:
        """After `run` has ended: what is being written is finished first."""
        try:
            await self._call(self.writer.close)
        finally:
            self._thread.shutdown(wait=False)

    async def run(self) -> None:
        """For ever.  Raises `Final` errors in a group; a disk or a log that is away is waited for."""
        patience = Patience("the archive")
        problem: Exception = Unavailable("the log is closed")
        while True:
            try:
                async with asyncio.TaskGroup() as group:
                    await self._begin()
                    group.create_task(self._copy())
                    group.create_task(self._watch())
            except* OSError as problems:
                problem = problems.exceptions[0]
            self._observed.away(names.DISK, problem)
            await self._call(self.writer.close)
            await patience.wait(problem)

    async def _begin(self) -> None:
        """Come to where the archive ends, and see that the log goes on there."""
        await self._call(self.writer.open)
        if self.began_at is None:
            self.began_at = self.writer.next_offset
        first, end = await self.bounds()
        next_offset, last = self.writer.next_offset, self.writer.last
        if first > next_offset:
            raise self._lost(first)
        await self._wait_for_end(end)
        if last is not None and first < next_offset:
            async with aclosing(self._log.read(self.topic, next_offset - 1)) as chunks:
                async for chunk in chunks:
                    check_same(
                        self.topic, chunk[0], Record(next_offset - 1, last), where=str(self.writer.folder.parent)
                    )
                    break
        self._observed.copying(self.topic)
        self._shelf.moved()

    async def bounds(self) -> tuple[int, int]:
        """Waits for a log that is away, and for a topic that is not there yet."""
        patience = Patience("the log")
        while True:
            try:
                return await self._log.bounds(self.topic)
            except (Unavailable, TopicMissing) as problem:
                self._observed.waiting(self.topic, problem)
                await patience.wait(problem)

    async def _wait_for_end(self, end: int) -> None:
        """A log may seem short for a moment; one that stays so has lost its end."""
        try:
            async with asyncio.timeout(TAIL_LOST_AFTER_MS / 1000):
                while end < self.writer.next_offset:
                    await asyncio.sleep(SYNC_PAUSE_MS / 1000)
                    _, end = await self.bounds()
        except TimeoutError:
            raise OffsetBeyondTail(
                f"{self.topic}: archived up to offset {self.writer.next_offset}, but the log ends before {end}: it has "
                "lost its end, or the archive is another log's"
            ) from None

    def _lost(self, first: int) -> OffsetGone:
        return OffsetGone(
            f"{self.topic}: archived up to offset {self.writer.next_offset}, but the first one that the log keeps is "
            f"{first}: the records between are lost to the archive; keep records longer, and archive to a new folder"
        )

    async def _copy(self) -> None:
        try:
            async with aclosing(self._log.read(self.topic, self.writer.next_offset)) as chunks:
                async for chunk in chunks:
                    await self._store(chunk)
                    if len(chunk) < CHUNK_RECORDS:
                        await asyncio.sleep(SYNC_PAUSE_MS / 1000)  # what comes meanwhile shares the next fsync
        except OffsetGone as gone:
            first, _ = await self.bounds()
            raise self._lost(first) from gone

    async def _store(self, chunk: Sequence[Record]) -> None:
        waiting = deque((record, self.writer.history.causes(*record)) for record in chunk)
        while waiting:
            await self._shelf.until(partial(self._shelf.covers, waiting[0][1]))
            ready: list[Record] = []
            while waiting and self._shelf.covers(waiting[0][1]):
                ready.append(waiting.popleft()[0])
            await self._call(partial(self.writer.append, ready))
            self._observed.copied(self.topic, len(ready))
            self._shelf.moved()

    async def _watch(self) -> None:
        """Keep lag and headroom up to date, seal what is old.  Raises `OffsetGone` when expiry has overtaken us."""
        while True:
            try:
                bounds = await self._log.bounds(self.topic)
            except Unavailable as problem:
                self._observed.away(names.LOG, problem)
            else:
                self._observed.seen(self.topic, bounds, self.writer.next_offset)
                if bounds[0] > self.writer.next_offset:
                    raise self._lost(bounds[0])
            await self._call(self.writer.seal_if_due)
            await asyncio.sleep(SAMPLE_S)
