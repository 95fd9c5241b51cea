"""The topics of an app: which there are, and how they are made."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bennu.log.port import Log  # at run time it would bring the log's adapters into the start of `bennu --help`

KINDS = ("events", "commands", "saga")


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


async def create_all(log: "Log", app_name: str, partitions: int) -> list[str]:
    """Make what is missing; all names.  Raises `Unavailable`."""
    found = list(names(app_name, partitions))
    for name in found:
        await log.create(name)
    return found
