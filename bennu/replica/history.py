"""A journal from its first record to its tail, each record judged as every replica judges it."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NamedTuple

from bennu.log.port import Log, Record
from bennu.replica.journal import JournalReader, Position, Verdict
from bennu.v1.journal_pb2 import EpochStart, EventBatch


class Judged(NamedTuple):
    """A record, and what it is in the journal's history."""

    offset: int
    verdict: Verdict
    record: EpochStart | EventBatch
    position: Position
    """Where a reader stands after it."""

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.position.topic}, offset {self.offset}"


async def records(log: Log, topic: str, first: int = 0) -> AsyncGenerator[Record, None]:
    """Every record that is there now, from this offset on.  Raises `RecordBroken`, `OffsetGone`, `TopicMissing`."""
    _, tail = await log.bounds(topic)
    async with aclosing(records_between(log, topic, first, end=tail)) as found:
        async for record in found:
            yield record


async def records_between(log: Log, topic: str, first: int, *, end: int) -> AsyncGenerator[Record, None]:
    """The records from one offset to before another, all of which are there.  Raises as `records` does."""
    if end <= first:
        return
    async with aclosing(log.read(topic, first)) as chunks:
        async for chunk in chunks:
            for record in chunk:
                if record.offset >= end:
                    return
                yield record
            if chunk[-1].offset + 1 >= end:
                return


async def judged(log: Log, topic: str, position: Position | None = None) -> AsyncGenerator[Judged, None]:
    """Every record that is there now.  Raises `JournalBroken`, and what `records` raises.

    What a record is depends on all before it, so reading begins at offset 0, or where a replica stood.
    """
    reader = JournalReader(position or Position(topic))
    async with aclosing(records(log, topic, reader.position.offset)) as found:
        async for offset, body in found:
            verdict, record = reader.classify(offset, body)
            yield Judged(offset, verdict, record, reader.position)


async def effective_batches(log: Log, topic: str) -> list[EventBatch]:
    """The batches that count, in order.  Raises as `judged` does."""
    return [
        found.record
        async for found in judged(log, topic)
        if found.verdict is Verdict.BATCH and isinstance(found.record, EventBatch)
    ]
