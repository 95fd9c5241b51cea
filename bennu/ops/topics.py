"""The topics of an app: which there are, and how they are made."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bennu.log.port import Log  # at run time it would bring the log's adapters into the start of `bennu --help`

KINDS = ("events", "commands", "saga")
MAX_PARTITIONS = 1024
"""Of any app."""


def members(app_name: str) -> str:
    """The log of an app in which its processes say that they live."""
    return f"{app_name}-members"


def names(app_name: str, partitions: int) -> Iterator[str]:
    """The topics of an app."""
    yield members(app_name)
    yield from histories(app_name, partitions)


def histories(app_name: str, partitions: int) -> Iterator[str]:
    """All but the heartbeats of its members, which nobody needs tomorrow."""
    for number in range(partitions):
        for kind in KINDS:
            yield f"{app_name}-{kind}-{number}"


@cache
def numbered_sources(app_name: str, partitions: int, callers: Sequence[str] = ()) -> frozenset[str]:
    """Whose numbered commands are taken from its command logs: its own sagas', and those of the apps that may call it.

    How many partitions a caller has is not known to an app; the names are as many as it may have.
    """
    counts = {app_name: partitions} | dict.fromkeys(callers, MAX_PARTITIONS)
    return frozenset(f"{name}-saga-{number}" for name, count in counts.items() for number in range(count))


def app_of(topic: str) -> str:
    """The app that a journal or command log of this name belongs to."""
    return topic.rpartition("-")[0].rpartition("-")[0]


def journals(app_name: str, partitions: int) -> Iterator[str]:
    """Those of them that say how many partitions the app has, once they have begun."""
    return (name for name in histories(app_name, partitions) if is_journal(name))


def is_journal(name: str) -> bool:
    """Whether a topic of this name is a journal: a domain's, or a saga's."""
    kind = name.rpartition("-")[0].rpartition("-")[2]
    return bool(app_of(name)) and kind in ("events", "saga") and name.rpartition("-")[2].isdigit()


async def create_all(log: "Log", app_name: str, partitions: int) -> list[str]:
    """Make what is missing; all names.  Raises `Unavailable`, and `BadSettings` if journals say another number."""
    from bennu.ops.partition_count import check

    await check(log, app_name, partitions)
    found = list(names(app_name, partitions))
    for name in found:
        await log.create(name)
    return found
