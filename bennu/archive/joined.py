"""The archive and the log, read as one: what the log no longer keeps comes from the archive.

Appending, and everything at the tail, is the log's own.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress

from bennu.archive.folder import Archive
from bennu.errors import BadSettings, OffsetGone
from bennu.log.port import Log, Record


class JoinedLog:
    """A log with an archive before it.  See `bennu.log.port.Log` for what it promises.

    Also raises `RecordBroken` for a broken segment, `OffsetGone` naming both where neither has the offset, and
    `BadSettings` where the archive turns out to be another log's.
    """

    def __init__(self, log: Log, archive: Archive) -> None:
        self._log = log
        self._archive = archive
        self._ends: dict[str, int] = {}
        """Where the archive ended when last looked at: its ends only rise."""

    async def create(self, topic: str) -> None:
        await self._log.create(topic)

    async def append(self, topic: str, record: bytes, *, timeout_ms: int = 3000) -> int:
        return await self._log.append(topic, record, timeout_ms=timeout_ms)

    async def bounds(self, topic: str) -> tuple[int, int]:
        """The first offset from which nothing is missing, and the log's next one."""
        first, end = await self._log.bounds(topic)
        return (await asyncio.to_thread(self._first, topic, first) if first else 0), end

    def _first(self, topic: str, kept: int) -> int:
        found = self._archive.segments(topic)
        if not found or found[0].first >= kept:
            return kept
        if self._ends.get(topic, 0) < kept:
            self._ends[topic] = (self._archive.bounds(topic) or (0, 0))[1]
        return found[0].first if self._ends[topic] >= kept else kept

    async def read(self, topic: str, offset: int) -> AsyncGenerator[Sequence[Record], None]:
        last: Record | None = None
        """The archive's newest, while nothing of the log was read behind it."""
        while True:
            try:
                if last is not None:
                    await self._check_joint(topic, last)
                async with aclosing(self._log.read(topic, offset)) as live:
                    async for chunk in live:
                        offset, last = chunk[-1].offset + 1, None
                        yield chunk
                return
            except OffsetGone as gone:
                await asyncio.to_thread(self._check_archived, topic, offset, gone)
            async with aclosing(read_archive(self._archive, topic, offset)) as archived:
                async for chunk in archived:
                    offset, last = chunk[-1].offset + 1, chunk[-1]
                    yield chunk

    async def _check_joint(self, topic: str, last: Record) -> None:
        """Where the log still keeps the archive's newest record, it must be the same."""
        with suppress(OffsetGone):
            async with aclosing(self._log.read(topic, last.offset)) as live:
                async for chunk in live:
                    check_same(topic, chunk[0], last, where=str(self._archive.root))
                    return

    def _check_archived(self, topic: str, offset: int, gone: OffsetGone) -> None:
        """Raise `OffsetGone` unless the archive has what the log lacks."""
        found = self._archive.bounds(topic)
        if found is None or not found[0] <= offset < found[1]:
            has = "nothing" if found is None else f"offsets {found[0]} to {found[1] - 1}"
            raise OffsetGone(f"{gone}; and the archive in {self._archive.root} has {has} of {topic}") from gone


async def read_archive(archive: Archive, topic: str, offset: int) -> AsyncGenerator[Sequence[Record], None]:
    """`Archive.read` in a thread of its own."""
    chunks = archive.read(topic, offset)
    thread = ThreadPoolExecutor(1, thread_name_prefix=f"archive-{topic}")
    try:
        while (chunk := await asyncio.wrap_future(thread.submit(next, chunks, None))) is not None:
            yield chunk
    finally:
        thread.submit(chunks.close)
        thread.shutdown(wait=False)


def check_same(topic: str, found: Record, archived: Record, *, where: str) -> None:
    """Raise `BadSettings` for an archive and a log that do not belong together."""
    if found != archived:
        raise BadSettings(
            f"{topic}: the record at offset {archived.offset} is another one in the log than in the archive {where}; "
            "they are not of one history: name the archive that belongs to this log, or a new folder"
        )
