"""A log from its archive: the same records at the same offsets, in topics that were empty.

Interrupted, it goes on: what is there already must be what the archive begins with.  Nothing else may write meanwhile.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass

from bennu.archive.folder import Archive
from bennu.archive.joined import read_archive
from bennu.archive.limits import RESTORE_SETTLE_MS, RESTORE_TIMEOUT_MS
from bennu.archive.verify import Verified, require_records, verify
from bennu.errors import AppendRefused, AppendUnknown, BadSettings, Final, Unavailable
from bennu.log.port import Log, Record
from bennu.ops.patience import Patience
from bennu.ops.run import leaves


@dataclass
class Restored:
    """A topic that holds what was archived of it, and nothing else."""

    topic: str
    last: int
    """Offset of the last record archived: what the log held after it is lost."""
    written: int = 0
    """So many were not there before."""

    def as_dict(self) -> dict[str, object]:
        """Plain data, for a program."""
        return asdict(self)


async def restore(archive: Archive, log: Log, only: Sequence[str] = ()) -> list[Restored]:
    """Restore all topics, or those named; returns once each was read back.

    Raises `BadSettings` before anything is written: for an archive that is empty or begins late, for a topic that is
    not empty.
    Raises `RecordBroken` or `JournalBroken` for a spoilt archive, `Final` if somebody else writes to a topic meanwhile.
    """
    await asyncio.to_thread(require_records, archive)
    found = {verified.topic: verified for verified in await asyncio.to_thread(verify, archive)}
    topics = [_Topic(archive, log, _wanted(found, name)) for name in only or found]
    for topic in topics:
        await topic.look()
    try:
        async with asyncio.TaskGroup() as group:
            working = [group.create_task(topic.write()) for topic in topics]
    except BaseExceptionGroup as problems:
        raise next(leaves(problems)) from None
    return [work.result() for work in working]


def _wanted(found: dict[str, Verified], name: str) -> Verified:
    if name not in found:
        raise BadSettings(f"nothing is archived of {name}")
    if found[name].first:
        raise BadSettings(
            f"{name}: the archive begins at offset {found[name].first}, so a log made from it would have other "
            "offsets; the segments before must be found first"
        )
    return found[name]


class _Topic:
    """One topic being restored."""

    def __init__(self, archive: Archive, log: Log, verified: Verified) -> None:
        self._archive = archive
        self._log = log
        self._topic = verified.topic
        self._end = verified.next
        self._there = 0
        self._patience = Patience("the log")

    async def look(self) -> None:
        """Make it; what is there must be the archive's beginning."""
        await self._log.create(self._topic)
        first, self._there = await self._log.bounds(self._topic)
        if first or self._there > self._end:
            raise BadSettings(
                f"{self._topic} is not empty: it has offsets {first} to {self._there - 1}, archived are 0 to "
                f"{self._end - 1}; a restore needs empty topics"
            )
        await self._compare(self._there, "is not empty, and")

    async def write(self) -> Restored:
        """Write what is missing, then read all of it."""
        if self._there < self._end:
            async with aclosing(read_archive(self._archive, self._topic, self._there)) as chunks:
                async for chunk in chunks:
                    for record in chunk:
                        await self._append(record)
        _, end = await self._log.bounds(self._topic)
        if end != self._end:
            raise self._disturbed(end)
        await self._compare(end, "was written, but")
        return Restored(self._topic, self._end - 1, self._end - self._there)

    async def _append(self, record: Record) -> None:
        while True:
            try:
                offset = await self._log.append(self._topic, record.body, timeout_ms=RESTORE_TIMEOUT_MS)
            except AppendRefused as problem:
                if problem.final:
                    raise Final(f"{self._topic}: the log will not take a record: {problem}") from problem
                await self._patience.wait(problem)
            except AppendUnknown:
                if await self._landed(record):
                    return
            else:
                if offset != record.offset:
                    raise self._disturbed(offset)
                self._patience.reset()
                return

    async def _landed(self, record: Record) -> bool:
        """Whether it is found in the log within a while."""
        give_up_at = asyncio.get_running_loop().time() + RESTORE_SETTLE_MS / 1000
        problem: object = "an append of unknown outcome is looked for"
        while asyncio.get_running_loop().time() < give_up_at:
            try:
                _, end = await self._log.bounds(self._topic)
            except Unavailable as away:
                problem = away
            else:
                if end > record.offset + 1:
                    raise self._disturbed(end - 1)
                if end == record.offset + 1:
                    return True  # and it is compared in the end
            await self._patience.wait(problem)
        return False

    def _disturbed(self, offset: int) -> Final:
        return Final(
            f"{self._topic}: a record stands at offset {offset} where none was expected: somebody else writes, or one "
            "of unknown outcome landed twice; make the topic empty and restore it again"
        )

    async def _compare(self, end: int, words: str) -> None:
        """All records below `end` against the archive's."""
        if not end:
            return
        live, archived = self._log.read(self._topic, 0), read_archive(self._archive, self._topic, 0)
        async with aclosing(records_of(live)) as found, aclosing(records_of(archived)) as expected:
            async for record in found:
                if record != await anext(expected):
                    raise BadSettings(
                        f"{self._topic} {words} its record at offset {record.offset} is not the archived one"
                    )
                if record.offset == end - 1:
                    return


async def records_of(chunks: AsyncGenerator[Sequence[Record], None]) -> AsyncGenerator[Record, None]:
    """One by one."""
    async with aclosing(chunks):
        async for chunk in chunks:
            for record in chunk:
                yield record
