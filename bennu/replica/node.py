"""What the partitions of one process share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from bennu.log.port import Log
from bennu.members.group import Group
from bennu.replica.journal import Position
from bennu.replica.leader import Candidate
from bennu.replica.pauses import Pauses
from bennu.replica.state import ReplicaState


class Snapshots(Protocol):
    """States that were kept, so that not all of a journal has to be read.  See `bennu.snapshots`."""

    async def begin(
        self, log: Log, topic: str, new_state: Callable[[], ReplicaState]
    ) -> tuple[ReplicaState, Position] | None:
        """The last state that `new_state` made, loaded, and where it stands; None: read from the start.

        Raises `OffsetGone` when the journal's start is gone, and no snapshot reaches what is left.
        """

    async def due(self, topic: str) -> None:
        """Return when another one should be taken."""

    async def take(self, state: ReplicaState, position: Position) -> None:
        """Keep this state, which must stand still until it returns or is cancelled."""


@dataclass(frozen=True)
class Node:
    """One process of a service."""

    log: Log
    candidate: Candidate
    group: Group
    snapshots: Snapshots | None = None
    pauses: Pauses = field(default_factory=Pauses)
