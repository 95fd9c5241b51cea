"""A projection: tables, and for each event the rows it changes.

    class Balances(Projection):
        tables = (Table("accounts", key=("account",), columns=(Column("account", TEXT), ...)),)

        @projects
        def deposited(self, event: Deposited, rows: Rows, meta: EventMeta) -> None:
            rows.update("accounts", {"account": event.account}, balance_minor=event.balance_minor)

A row belongs to one aggregate, or to one partition, so that two partitions never write the same row in an order that
nobody knows: `Table.owner` says which column of the key tells whose it is.  What many write is a `shared` table, whose
columns say how they are merged.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

from google.protobuf.message import Message

TEXT = "text"
BIGINT = "bigint"
TIMESTAMP = "timestamptz"
BOOLEAN = "boolean"
JSONB = "jsonb"

DAY = "day"
MONTH = "month"

SUM = "sum"
MAX = "max"
MIN = "min"

PARTITION = "partition"
"""A `BIGINT` of this name in a key holds the number of the partition that wrote the row."""

Value = str | int | bool | None
"""What a cell may hold; a `TIMESTAMP` column takes microseconds since 1970, a `JSONB` column a text that is JSON.

A zero byte in a text, which Postgres can't hold, is shown as U+FFFD.
"""

Rule = TypeVar("Rule", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Column:
    """A typed column; `comment` is shown to those who query.

    One without a comment has that of the field of its name, if the protos of its table's message, or else of the events
    that have rules, have one.
    """

    name: str
    type: str
    nullable: bool = False
    comment: str = ""
    formula: str = ""
    """SQL by which Postgres computes it from the row's other columns; no rule sets it then."""
    scale: int = 0
    """Of a `BIGINT` called `NAME_minor`: so many of its digits stand behind the point of the numeric column `NAME`,
    which only the view has, behind it, for those who query."""
    merge: str = ""
    """Of a `shared` table, how what partitions write becomes one value, whichever comes first: `SUM` of what is
    incremented; `MAX` or `MIN` of what is upserted, NULL before, text by code points."""


@dataclass(frozen=True, slots=True)
class ByTime:
    """Postgres keeps the rows of each day or month (in UTC) apart, by a `TIMESTAMP` column that is part of the key.

    The column holds journaled times: a transaction takes as many days of them as Postgres has locks for.
    """

    column: str
    every: str = MONTH
    """`DAY` or `MONTH`."""
    keep_days: int = 0
    """Days and months that ended before so many days are dropped, and not written again; 0: all is kept."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table, kept in the schema that has the app's name."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    indexes: tuple[tuple[str, ...], ...] = ()
    comment: str = ""
    owner: str = ""
    """The column of the key that holds the id of the aggregate to which the row belongs: only events about that one
    change it.  Without a word, `partition` if the key has it, else the column that is called as the events' key is."""
    shared: bool = False
    """Any event may write any row, by `increment` of `SUM` columns and `upsert` of `MAX` and `MIN` ones alone."""
    by_time: ByTime | None = None
    of: type[Message] | None = None
    """What a row is, such as the answer to a query: its comments in the protos are those of table and columns that have
    none."""


class EventMeta(NamedTuple):
    """Where an event stands, and where it came from."""

    partition: int
    seq: int
    recorded_at_us: int
    command_id: str
    actor: str
    command_type: str = ""
    correlation_id: str = ""
    causation_id: str = ""
    """Id of the command whose outcome led to this one; of those that a saga sent."""
    reason: str = ""
    """What the actor said; empty for what programs do by themselves."""
    traceparent: str = ""


class Rows(Protocol):
    """The rows that events change, as if one change after another; all of a batch, and the position, commit together.

    A change of a row that belongs to another aggregate or partition is refused, and its event parked.
    """

    def upsert(self, table: str, key: Mapping[str, Value], **values: Value) -> None:
        """Insert the row, or set these columns of it; those of a `shared` table become the greatest or least said."""

    def update(self, table: str, key: Mapping[str, Value], **values: Value) -> None:
        """Set these columns of a row; nothing if there is none."""

    def increment(self, table: str, key: Mapping[str, Value], **amounts: int) -> None:
        """Add to these columns; a row that is not there begins at 0."""

    def append(self, table: str, **values: Value) -> None:
        """Insert a row of a table that is only added to."""

    def delete(self, table: str, key: Mapping[str, Value]) -> None:
        """Remove the row if it is there."""

    def update_where(self, table: str, where: Mapping[str, Value], **values: Value) -> None:
        """Set these columns of all rows whose columns equal those of `where`, the owner among them; None is NULL."""

    def delete_where(self, table: str, where: Mapping[str, Value]) -> None:
        """Remove all such rows."""

    def sql(self, statement: str, *values: Value) -> None:
        """Carry out one of `Projection.statements`, with `values` for $1, $2, …; see `bennu.domain.plain_sql`."""


class Projection:
    """Base of a projection.  `name` identifies its position; rules are marked with `projects`.

    Whoever changes tables, or the types of events that have rules, is asked for a rebuild; whoever changes what a rule
    does with the same events raises `version`, and is asked as well.
    """

    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    tables: ClassVar[tuple[Table, ...]] = ()
    statements: ClassVar[tuple[str, ...]] = ()
    """Plain SQL for what `Rows` can't say: see `bennu.domain.plain_sql`."""


def projects(rule: Rule) -> Rule:
    """Mark `(self, event, rows, meta) -> None`."""
    setattr(rule, "__bennu__", "projects")  # noqa: B010 - functions have no such declared attribute
    return rule
