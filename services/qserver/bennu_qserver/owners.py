"""Whose turn it is, and whether a row is that event's to change: for whatever implements `bennu.domain.Rows`."""

from typing import Protocol

from bennu.domain import EventMeta
from bennu.domain.ownership import is_partition
from bennu.domain.projection import Value
from bennu_qserver.errors import NotOwner
from bennu_qserver.tables import StoredTable
from bennu_qserver.values import mended_text


class About(Protocol):
    """An event, as far as changes of rows need to know it."""

    @property
    def meta(self) -> EventMeta:
        """Where it stands."""

    @property
    def key(self) -> tuple[str, str]:
        """Kind and id of its aggregate."""


class Turn:
    """The event whose rule is at work; there may be none, and then rows belong to nobody."""

    __slots__ = ("_aggregate", "_event", "partition", "seq")

    def __init__(self) -> None:
        self.seq = 0
        self.partition: int | None = None
        self._event: About | None = None
        self._aggregate: str | None = None

    def begin(self, event: About) -> None:
        """It is this one's."""
        self._event, self._aggregate = event, None
        self.seq, self.partition = event.meta.seq, event.meta.partition

    @property
    def aggregate(self) -> str | None:
        """The id of the aggregate that it is about: looked for only when a row asks."""
        if self._aggregate is None and self._event is not None:
            self._aggregate = self._event.key[1]
        return self._aggregate


class Owner:
    """Of a table's rows."""

    __slots__ = ("at", "column", "of_partition", "table")

    def __init__(self, table: StoredTable) -> None:
        self.table = table.declared.name
        self.column = table.declared.owner
        """Empty: rows belong to nobody."""
        self.at = table.key.index(self.column) if self.column else -1
        """Its place in the key."""
        self.of_partition = bool(self.column) and is_partition(table.columns[self.column])

    def mine(self, turn: Turn) -> Value:
        """What the column says in rows of this event; None outside events."""
        return turn.partition if self.of_partition else turn.aggregate

    def check(self, owner: Value, turn: Turn) -> None:
        """Raise `NotOwner` if a row of that owner is not the event's to change."""
        mine = turn.partition if self.of_partition else turn.aggregate
        if owner == mine or mine is None or (isinstance(owner, str) and mended_text(owner) == mine):
            return
        told = f"table `{self.table}`: a row whose `{self.column}` is {owner!r}"
        if self.of_partition:
            raise NotOwner(f"{told} belongs to that partition, and the event is in partition {mine}")
        raise NotOwner(
            f"{told} belongs to that aggregate, which may be in another partition, and the event is about {mine!r}; "
            "rows that several aggregates write need a `shared` table"
        )
