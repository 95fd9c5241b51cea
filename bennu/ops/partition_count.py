"""How many partitions an app has: its journals say so, each with its first record, and for ever."""

from contextlib import aclosing

from bennu.errors import BadSettings, TopicMissing
from bennu.log.port import Log
from bennu.ops import topics
from bennu.replica.journal import decode
from bennu.v1.journal_pb2 import EpochStart


async def said_by(log: Log, topic: str) -> int:
    """What this journal says; 0 where it is not there, or nothing was begun in it, or its beginning is no longer kept.

    Raises `Unavailable`, and `RecordBroken` for a journal that begins with what can't be understood.
    """
    try:
        first, end = await log.bounds(topic)
    except TopicMissing:
        return 0
    if first == end:
        return 0
    async with aclosing(log.read(topic, first)) as chunks:
        record = (await anext(chunks))[0]
    start = decode(record.body, where=f"{topic}, offset {record.offset}")
    return start.partitions if isinstance(start, EpochStart) else 0


async def still_said_by(log: Log, topic: str) -> int:
    """The same, from whichever of its epochs began first among those that are still kept."""
    try:
        first, end = await log.bounds(topic)
    except TopicMissing:
        return 0
    if first == end:
        return 0
    async with aclosing(log.read(topic, first)) as chunks:
        async for chunk in chunks:
            for offset, body in chunk:
                start = decode(body, where=f"{topic}, offset {offset}")
                if isinstance(start, EpochStart):
                    return start.partitions
                if offset + 1 >= end:
                    return 0
    return 0


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
