"""What may be archived next: of the records that wait, the most that refer to nothing but one another and the archive.

Whoever writes a cut whole, or not at all, leaves an archive that could be restored.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bennu.archive.history import Cause
from bennu.log.port import Record


class Waiting(NamedTuple):
    """A record that was read and is not archived."""

    record: Record
    causes: Sequence[Cause]
    reached: Sequence[tuple[str, int]]
    """(stream, number) that the topic comes to with it."""


class Part(NamedTuple):
    """A topic: what is archived, and what waits."""

    archived_to: int
    numbers: Mapping[str, int]
    waiting: Sequence[Waiting]


def closed_cut(parts: Mapping[str, Part]) -> dict[str, int]:
    """By topic, how many of its waiting records may be archived together.

    Begins with all, and shortens a topic before each record whose cause would be missing, until none is.  A cause in a
    topic that is not among the parts is nobody's to wait for.
    """
    counts = {topic: len(part.waiting) for topic, part in parts.items()}
    where = {topic: _where_reached(part) for topic, part in parts.items()}

    def missing(cause: Cause) -> bool:
        part = parts.get(cause.topic)
        if part is None:
            return False
        count = counts[cause.topic]
        if not cause.stream:
            return cause.offset > part.archived_to + count
        return cause.number > part.numbers.get(cause.stream, 0) and not _reaches(
            where[cause.topic].get(cause.stream, ()), cause.number, count
        )

    shortened = True
    while shortened:
        shortened = False
        for topic, part in parts.items():
            for index in range(counts[topic]):
                if any(map(missing, part.waiting[index].causes)):
                    counts[topic], shortened = index, True
                    break
    return counts


def _where_reached(part: Part) -> dict[str, list[tuple[int, int]]]:
    """By stream, (number, how many waiting records it takes), rising in both."""
    found: dict[str, list[tuple[int, int]]] = {}
    for count, waiting in enumerate(part.waiting, 1):
        for stream, number in waiting.reached:
            found.setdefault(stream, []).append((number, count))
    return found


def _reaches(steps: Sequence[tuple[int, int]], number: int, count: int) -> bool:
    at = bisect_left(steps, (number, 0))
    return at < len(steps) and steps[at][1] <= count
