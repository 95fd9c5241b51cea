"""The events of an app as a table that can be queried: a projection without rules, which takes all of them.

    app = App("bank", ..., projections=(Ledger, EventTable))

By month, and for ever, if nothing else is said:

    class Events(EventTable):
        every, keep_days = DAY, 400
"""

from typing import Any, ClassVar

from bennu.domain.projection import BIGINT, JSONB, MONTH, TEXT, TIMESTAMP, ByTime, Column, Projection, Table

COLUMNS = (
    Column("partition", BIGINT, comment="partition of the aggregate"),
    Column("seq", BIGINT, comment="number of the event in the partition"),
    Column("recorded_at", TIMESTAMP, comment="journaled time of the command that led to it"),
    Column("type", TEXT, comment="full name of the message, as it was journaled"),
    Column("aggregate", TEXT, comment="kind of what the event is about, by the name of its state"),
    Column("key", TEXT, comment="which one"),
    Column(
        "payload",
        JSONB,
        comment="the event by the names of its fields; a field that is not set, or 0, or empty, is not there",
    ),
    Column("command_id", TEXT, comment="of the command that led to it"),
    Column("command_type", TEXT, comment="full name of that command's message"),
    Column("causation_id", TEXT, nullable=True, comment="command_id of what made a saga send it; NULL: a client did"),
    Column(
        "correlation_id", TEXT, nullable=True, comment="the saga that sent it, or what a client gave; NULL: nothing"
    ),
    Column("actor", TEXT, comment="who sent it: saga:NAME for a saga"),
    Column("reason", TEXT, nullable=True, comment="why, in that person's words"),
    Column("traceparent", TEXT, nullable=True, comment="of the trace that it belongs to"),
)
INDEXES = (
    ("aggregate", "key", "seq"),
    ("type", "recorded_at"),
    ("command_id",),
    ("causation_id",),
    ("correlation_id",),
)


class EventTable(Projection):
    """A row of table `events` for each event of the app's aggregates, whatever its type, as it was journaled.

    A row follows from its event alone, and no later event changes it.
    """

    name = "events"
    every: ClassVar[str] = MONTH
    """`DAY` or `MONTH`: what Postgres keeps apart, and drops as a whole."""
    keep_days: ClassVar[int] = 0
    """See `ByTime`; 0: all is kept.  A change asks for no rebuild."""

    def __init_subclass__(cls, **kwargs: Any) -> None:  # noqa: ANN401 - whatever other bases take
        super().__init_subclass__(**kwargs)
        cls.tables = (_table(cls.every, cls.keep_days),)


def _table(every: str, keep_days: int) -> Table:
    return Table(
        "events",
        COLUMNS,
        key=("partition", "seq", "recorded_at"),
        indexes=INDEXES,
        comment="Events of all aggregates, as they were journaled",
        by_time=ByTime("recorded_at", every, keep_days),
    )


EventTable.tables = (_table(EventTable.every, EventTable.keep_days),)
