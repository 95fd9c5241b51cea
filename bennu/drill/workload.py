"""What a domain adds to a drill: what is asked of it, and what must add up in the end."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol, TypeAlias

import asyncpg
from google.protobuf.message import Message

from bennu.domain.app import App
from bennu.drill.calls import Call, Command
from bennu.drill.journals import Journal
from bennu.drill.saga_journals import Sagas
from bennu.log.port import Log

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class Workload(Protocol):
    """Commands over all partitions, for ever, from a seed."""

    app: App
    partitions: int
    name: str
    """With which all its command ids begin."""

    def prepare(self) -> Iterator[Sequence[tuple[str, Message]]]:
        """(id, command) of each step before the load, one step after another."""

    def commands(self) -> Iterator[tuple[str, Message]]:
        """(id, command) of the load; never ends."""

    def queries(self) -> Sequence[Message]:
        """What each node is asked at the end; all must answer the same bytes as a replay."""

    def conserved(self, calls: Sequence[Call], journals: Sequence[Journal]) -> list[str]:
        """What does not add up, in words (I9)."""


class SagaWorkload(Workload, Protocol):
    """Commands that each start one saga."""

    def starts_saga(self, command: Command) -> bool:
        """Whether it is one of these, not one that prepares them."""

    def saga_of(self, command: Command) -> str:
        """Id of the saga that it starts."""

    def misjudged(self, sagas: Sagas, journals: Sequence[Journal]) -> list[str]:
        """Sagas whose effects in the domain are not what they ended as: in words (I8)."""


class Look(NamedTuple):
    """What one statement of a reader shows."""

    rows: int
    """Of tables whose rows never become fewer."""
    generations: frozenset[str]
    """From which the views' rows come: one, or it is a mixture."""
    unbalanced: int
    """What must add up to zero, and does not."""
    differing: int
    """Rows of one table that contradict those of another."""


class Entry(NamedTuple):
    """A row that shows how old tables are."""

    partition: int
    seq: int
    recorded_at: datetime


class Compared(NamedTuple):
    """Tables against a recomputation from the journals, at one moment."""

    events: int
    rows: int
    mismatches: int
    """Rows that are missing, other, or too many."""
    told: Sequence[str]
    """The first of them, in words."""


class TableWorkload(Workload, Protocol):
    """A workload whose events are shown in tables."""

    projection: str

    async def look(self, connection: Connection) -> Look:
        """As a reader does, by one statement."""

    async def generations(self, connection: Connection) -> frozenset[str]:
        """From which the views' rows come."""

    async def newer(self, connection: Connection, seen: Mapping[int, int]) -> Sequence[Entry]:
        """What came after these numbers of the partitions, in order."""

    async def shown(self, connection: Connection) -> Mapping[int, int]:
        """Number of the last event that the tables show, by partition."""

    async def journaled(self, log: Log) -> int:
        """How many there are."""

    async def compare(self, connection: Connection, log: Log) -> Compared:
        """Every row of one snapshot against the journals up to the positions in it.  Each time not before the last."""
