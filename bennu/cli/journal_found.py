"""Which journals are to be verified, and whether any is missing: each that has begun says how many there are."""

from bennu.cli import topics
from bennu.errors import BadSettings, JournalBroken, TopicMissing, Unavailable
from bennu.log.port import Log
from bennu.ops import partition_count
from bennu.ops import topics as app_topics


async def one(log: Log, topic: str, told: int) -> list[str]:
    """This journal.  Raises `BadSettings` for what is none, `TopicMissing`, and `Unavailable` where it is empty."""
    if not app_topics.is_journal(topic):
        raise BadSettings(f"{topic} is no journal: those are called like bank-events-0, or bank-saga-0")
    first, end = await log.bounds(topic)
    if first == end:
        raise Unavailable(f"{topic} is empty: nothing was begun there, so there is nothing to verify")
    if told and (said := await partition_count.said_by(log, topic)):
        partition_count.require(topic, said, told)
    return [topic]


async def all_of(log: Log, app_name: str, told: int, *, url: str) -> list[str]:
    """Those of an app.  `told`: how many partitions it should have; 0 believes the journals.

    Raises `JournalBroken` where one is missing or they contradict one another, `BadSettings` where they say another
    number than we were told, `TopicMissing` where there is nothing to verify.
    """
    found = {topic.name: topic for topic in await topics.find_all(log, app_name) if app_topics.is_journal(topic.name)}
    if not any(topic.first < topic.next for topic in found.values()):
        raise TopicMissing(f"no journal of {app_name} with a record is in {url}, so there is nothing to verify")
    said = {name: count for name in found if (count := await partition_count.said_by(log, name))}
    for name, count in said.items():
        _check_agreed(name, count, said)
        partition_count.require(name, count, told or count)
    _check_none_lost(app_name, list(found), said)
    return list(found)


def _check_agreed(name: str, count: int, said: dict[str, int]) -> None:
    first, expected = next(iter(said.items()))
    if count != expected:
        raise JournalBroken(f"{first} says that there are {expected} partitions, but {name} that there are {count}")


def _check_none_lost(app_name: str, found: list[str], said: dict[str, int]) -> None:
    """A saga's journals need not be there, but where one has begun all of them were made."""
    if not said:
        return
    witness, count = next(iter(said.items()))
    kinds = ["events"] + ["saga"] * any("-saga-" in name for name in said)
    expected = [f"{app_name}-{kind}-{number}" for kind in kinds for number in range(count)]
    if lost := [name for name in expected if name not in found]:
        raise JournalBroken(
            f"not in the log: {', '.join(lost)}, but {witness} says that there are {count} partitions, so what was "
            "acknowledged there is lost; `bennu restore` builds a journal from an archive"
        )
