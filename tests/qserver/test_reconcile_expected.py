"""What rows must be, as a fold says: also for changes of many rows, and what it can't say."""

from collections.abc import Callable
from functools import partial

from google.protobuf.empty_pb2 import Empty

from bennu.domain import BIGINT, JSONB, TEXT, Column, EventMeta, Table
from bennu_qserver.events import AggregateKey, Event, Handler
from bennu_qserver.reconcile.cells import is_same
from bennu_qserver.reconcile.expected import ExpectedRows
from bennu_qserver.reconcile.part import Part
from bennu_qserver.tables import StoredTable

COLUMNS = (Column("name", TEXT), Column("sum", BIGINT), Column("note", TEXT, nullable=True))
TABLE = StoredTable("bank", 1, Table("things", COLUMNS, key=("name",)))


def applied(rows: ExpectedRows, seq: int, change: Callable[[], None]) -> str | None:
    """What is at fault with an event whose rule does this."""
    meta = EventMeta(0, seq, 0, "c", "a")
    handler = Handler(Empty.FromString, lambda *_: change(), lambda _: AggregateKey("", ""))
    return rows.take(Event(Empty(), meta, handler, b"", "here"))


def shown(rows: ExpectedRows) -> dict[object, list[object]]:
    """The rows."""
    return {key: list(row.values) for key, row in rows.tables["things"].rows.items()}


def filled() -> ExpectedRows:
    """Three rows."""
    rows = ExpectedRows([TABLE], Part(), most=100)
    for seq, (name, note) in enumerate((("a", None), ("b", "x"), ("c", "x")), 1):
        assert applied(rows, seq, partial(rows.append, "things", name=name, sum=1, note=note)) is None
    return rows


def test_rows_that_are_alike_are_changed_and_removed_together() -> None:
    """NULL is a value like others."""
    rows = filled()
    assert applied(rows, 4, lambda: rows.update_where("things", {"note": "x"}, sum=5)) is None
    assert shown(rows) == {("a",): [1, None], ("b",): [5, "x"], ("c",): [5, "x"]}
    assert applied(rows, 5, lambda: rows.delete_where("things", {"note": None})) is None
    assert applied(rows, 6, lambda: rows.delete_where("things", {"name": "c", "sum": 5})) is None
    assert shown(rows) == {("b",): [5, "x"]}


def test_an_event_at_fault_changes_nothing() -> None:
    """Whatever it has changed before it shows."""
    rows, before = filled(), shown(filled())

    def half() -> None:
        rows.delete("things", {"name": "a"})
        rows.increment("things", {"name": "b"}, sum=7)
        rows.upsert("things", {"name": "new"}, sum=7)
        rows.append("things", name="c", sum=1)

    assert "appends a row that is there" in (applied(rows, 4, half) or "")
    assert shown(rows) == before


def test_plain_sql_makes_its_tables_unknown() -> None:
    """They are named, so that nobody calls them equal."""
    rows = filled()
    assert applied(rows, 4, lambda: rows.sql("UPDATE {things} SET sum = $1", 3)) is None
    assert list(rows.not_compared) == ["things"]


def test_json_is_the_same_however_it_is_written() -> None:
    """By what it says: a number by its value, and `true` is no number."""
    column = Column("j", JSONB)
    assert is_same(column, '{"b":1.0,"a":[true,"\\u0041"]}', '{"a": [true, "A"], "b": 1}')
    assert not is_same(column, "[true]", "[1]")
    assert not is_same(column, '{"a":1}', '{"a": 1.0000000000000000000001}')
    assert not is_same(column, '"1"', "1")
