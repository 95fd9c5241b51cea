"""A journal from its first record to its tail, each record judged as every replica judges it."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import NamedTuple

from bennu.log.port import Log
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


async def judged(log: Log, topic: str) -> AsyncIterator[Judged]:
    """Every record that is there now.  Raises `JournalBroken`, `RecordBroken`, `OffsetGone`, `TopicMissing`.

    What a record is depends on all before it, so reading always begins at offset 0.
    """
    _, tail = await log.bounds(topic)
    reader = JournalReader(Position(topic))
    if tail == 0:
        return
    async with aclosing(log.read(topic, 0)) as chunks:
        async for chunk in chunks:
            for offset, body in chunk:
                verdict, record = reader.classify(offset, body)
                yield Judged(offset, verdict, record, reader.position)
            if reader.position.offset >= tail:
                return


async def effective_batches(log: Log, topic: str) -> list[EventBatch]:
    """The batches that count, in order.  Raises as `judged` does."""
    return [
        found.record
        async for found in judged(log, topic)
        if found.verdict is Verdict.BATCH and isinstance(found.record, EventBatch)
    ]
