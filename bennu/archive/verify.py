"""Whether an archive could be restored: every checksum and digest, every journal's chain, every cause."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

from bennu.archive.folder import Archive
from bennu.archive.history import Cause, history_of
from bennu.errors import BadSettings, RecordBroken


@dataclass
class Verified:
    """What stands in the archive of a topic, all of it whole."""

    topic: str
    first: int = 0
    next: int = 0
    segments: int = 0
    sealed: int = 0
    causes: dict[tuple[str, str], Cause] = field(default_factory=dict)
    """Of each other topic (and stream) the furthest that a record refers to."""
    numbers: dict[str, int] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """How many."""
        return self.next - self.first

    def as_dict(self) -> dict[str, object]:
        """Plain data, for a program."""
        return {name: value for name, value in asdict(self).items() if name not in ("causes", "numbers")}


def verify_topic(archive: Archive, topic: str) -> Verified:
    """Look at every byte that is archived.  Raises `RecordBroken` or `JournalBroken`, naming file and offset."""
    found = Verified(topic)
    history = history_of(topic)
    for here, end in archive.spans(topic):
        with archive.opened(topic, here) as segment:
            if not found.segments:
                found.first = here.first
                history.resume(segment.header.carried)
            if history.carried() != segment.header.carried:
                raise RecordBroken(f"{segment.where}: its header tells another history than the segments before it")
            for offset, body in segment.checked_records(end):
                _note(found, history.causes(offset, body))
                history.take(offset, body)
            if here.sealed:
                segment.check_footer()
            found.next = segment.next_offset
            found.segments += 1
            found.sealed += here.sealed
    if not found.segments:
        raise RecordBroken(f"{archive.root / topic}: archived up to {archive.ends()[topic]}, but no segment is there")
    found.numbers = dict(history.numbers)
    return found


def _note(found: Verified, causes: Iterable[Cause]) -> None:
    for cause in causes:
        known = found.causes.get(cause[:2], cause)
        found.causes[cause[:2]] = max(known, cause)


def missing_causes(found: Mapping[str, Verified]) -> list[str]:
    """What records refer to and the archive lacks, one sentence each; topics that are not archived do not count."""
    return [
        sentence
        for verified in found.values()
        for cause in verified.causes.values()
        if (other := found.get(cause.topic)) is not None and (sentence := _lack(verified.topic, cause, other))
    ]


def _lack(topic: str, cause: Cause, other: Verified) -> str:
    if cause.stream:
        last = other.numbers.get(cause.stream, 0)
        if cause.number > last:
            return f"{topic} knows of number {cause.number} of {cause.topic} and {cause.stream}; archived is {last}"
    elif cause.offset > other.next:
        return f"{topic} has read {cause.topic} up to offset {cause.offset}; archived is up to {other.next}"
    return ""


def require_records(archive: Archive) -> None:
    """Raise `BadSettings` for a folder in which nothing is archived: whoever names it means another."""
    if not archive.topics():
        raise BadSettings(f"{archive.root}: nothing is archived there")


def verify(archive: Archive) -> list[Verified]:
    """All topics.  Raises `RecordBroken` or `JournalBroken`."""
    found = {topic: verify_topic(archive, topic) for topic in archive.topics()}
    if lacks := missing_causes({topic: Verified(topic) for topic in archive.ends()} | found):
        raise RecordBroken("the archive is whole but not closed, so it can't be restored: " + "; ".join(lacks))
    return list(found.values())
