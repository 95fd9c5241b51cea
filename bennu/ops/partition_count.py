"""How many partitions an app has: its journals say so, each with its first record, and for ever."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from bennu.errors import BadSettings, TopicMissing
from bennu.log.port import Log
from bennu.ops import topics
from bennu.replica.journal import decode
from bennu.v1.journal_pb2 import EpochStart, EventBatch


async def said_by(log: Log, topic: str) -> int:
    """What this journal says; 0 where it is not there, or nothing was begun in it, or its beginning is no longer kept.

    Raises `Unavailable`, and `RecordBroken` for a journal that begins with what can't be understood.
    """
    async with aclosing(_kept(log, topic)) as records:
        async for record in records:
            return record.partitions if isinstance(record, EpochStart) else 0
    return 0


async def still_said_by(log: Log, topic: str) -> int:
    """The same, from whichever of its epochs began first among those that are still kept."""
    async with aclosing(_kept(log, topic)) as records:
        async for record in records:
            if isinstance(record, EpochStart):
                return record.partitions
    return 0


async def _kept(log: Log, topic: str) -> AsyncGenerator[EpochStart | EventBatch, None]:
    """What this journal holds now; nothing if it is not there."""
    try:
        first, end = await log.bounds(topic)
    except TopicMissing:
        return
    if first == end:
        return
    async with aclosing(log.read(topic, first)) as chunks:
        async for chunk in chunks:
            for offset, body in chunk:
                yield decode(body, where=f"{topic}, offset {offset}")
                if offset + 1 >= end:
                    return


async def check(log: Log, app_name: str, told: int) -> str:
    """Raise `BadSettings` when a journal of the app says another number; the one that agrees, "" if none has begun.

    Makes nothing; raises as `said_by` does.
    """
    for topic in topics.journals(app_name, told):
        if said := await said_by(log, topic):
            require(topic, said, told)
            return topic
    return ""


def require(topic: str, said: int, told: int) -> None:
    """Raise `BadSettings` unless what a journal says is what we were told."""
    if said != told:
        raise BadSettings(
            f"{topic}: the app has {said} partitions, but this process was told {told}; the number of partitions is "
            f"fixed at creation: say --partitions {said}"
        )
