"""What rows must be, as a fold says: changes of many rows, what is refused, and what it can't say."""

from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Any
from unittest.mock import Mock

import pytest
from google.protobuf.empty_pb2 import Empty

from bennu.domain import BIGINT, JSONB, MAX, MIN, SUM, TEXT, TIMESTAMP, Column, EventMeta, Rows, Table
from bennu.domain.projection import ByTime, Value
from bennu_qserver.errors import ProjectionFailed
from bennu_qserver.events import AggregateKey, Event, Handler
from bennu_qserver.reconcile import expected_table
from bennu_qserver.reconcile.cells import is_same
from bennu_qserver.reconcile.expected import NONE, ExpectedRows
from bennu_qserver.reconcile.part import Part
from bennu_qserver.rows import RowChanges
from bennu_qserver.statements import Statement
from bennu_qserver.tables import StoredTable
from tests.qserver import test_rows

NAME, SUM_, NOTE = Column("name", TEXT), Column("sum", BIGINT), Column("note", TEXT, nullable=True)
THINGS = Table(
    "things",
    (NAME, Column("no", BIGINT), SUM_, NOTE, Column("twice", BIGINT, formula="sum * 2")),
    key=("name", "no"),
    owner="name",
)
SHARED = Table(
    "shared",
    (
        NAME,
        Column("sum", BIGINT, merge=SUM),
        Column("most", TEXT, nullable=True, merge=MAX),
        Column("least", BIGINT, nullable=True, merge=MIN),
    ),
    key=("name",),
    shared=True,
)
TIMES = Table(
    "times", (Column("partition", BIGINT), Column("at", TIMESTAMP), NOTE), key=("partition", "at"), owner="partition"
)
TABLES = [StoredTable("bank", 1, table) for table in (THINGS, SHARED, TIMES)]
STATEMENT = "UPDATE {things} SET sum = $1"
Change = Callable[[ExpectedRows | RowChanges], None]


def event(seq: int, change: Callable[[], None], *, about: str = "a") -> Event:
    """One of partition 0 whose rule does this."""
    meta = EventMeta(0, seq, 0, "c", "a")
    handler = Handler(Empty.FromString, lambda *_: change(), lambda _: AggregateKey("thing", about))
    return Event(Empty(), meta, handler, b"", "here")


def applied(rows: ExpectedRows, seq: int, change: Callable[[], None], *, about: str = "a") -> str | None:
    """What is at fault with such an event."""
    return rows.take(event(seq, change, about=about))


def expected(part: Part | None = None, *, statements: Mapping[str, str] = NONE) -> ExpectedRows:
    """No rows yet."""
    return ExpectedRows(TABLES, part or Part(), most=1000, statements=statements)


def shown(rows: ExpectedRows, table: str = "things") -> dict[object, list[object]]:
    """The rows."""
    return {key: list(row.values) for key, row in rows.tables[table].rows.items()}


def thing(no: int, name: str = "a") -> Mapping[str, Value]:
    """A key."""
    return {"name": name, "no": no}


def filled() -> ExpectedRows:
    """Three rows of `a`, and one of `b`."""
    rows = expected()
    for no, note in enumerate((None, "x", "x"), 1):
        assert applied(rows, no, partial(rows.append, "things", name="a", no=no, sum=1, note=note)) is None
    assert applied(rows, 4, partial(rows.append, "things", name="b", no=1, sum=1, note="x"), about="b") is None
    return rows


def test_rows_that_are_alike_are_changed_and_removed_together() -> None:
    """NULL is a value like others; rows of others stay."""
    rows = filled()
    assert applied(rows, 5, lambda: rows.update_where("things", {"name": "a", "note": "x"}, sum=5)) is None
    assert shown(rows) == {("a", 1): [1, None], ("a", 2): [5, "x"], ("a", 3): [5, "x"], ("b", 1): [1, "x"]}
    assert applied(rows, 6, lambda: rows.delete_where("things", {"note": None, "name": "a"})) is None
    assert applied(rows, 7, lambda: rows.delete_where("things", {"name": "a", "no": 3, "sum": 5})) is None
    assert shown(rows) == {("a", 2): [5, "x"], ("b", 1): [1, "x"]}


def test_an_event_at_fault_changes_nothing() -> None:
    """Whatever it has changed before it shows, also of rows that are looked for later."""
    rows, before = filled(), shown(filled())
    assert applied(rows, 5, lambda: rows.update_where("things", {"name": "a", "note": "y"}, sum=5)) is None

    def half() -> None:
        rows.delete("things", thing(1))
        rows.increment("things", thing(2), sum=7)
        rows.update_where("things", {"name": "a", "note": "x"}, note="y")
        rows.upsert("things", thing(9), note="y")
        rows.delete_where("things", {"name": "a", "note": "y"})
        rows.append("things", name="a", no=1, note="y")
        rows.append("things", name="a", no=1)

    assert "appends a row that is there" in (applied(rows, 6, half) or "")
    assert shown(rows) == before
    assert applied(rows, 7, lambda: rows.delete_where("things", {"name": "a", "note": "y"})) is None
    assert shown(rows) == before
    assert applied(rows, 8, lambda: rows.delete_where("things", {"name": "a", "note": "x"})) is None
    assert sorted(rows.tables["things"].rows, key=str) == [("a", 1), ("b", 1)]


class Model:
    """Rows of `a`, each change a look at every row."""

    def __init__(self) -> None:
        self.rows: dict[object, list[Any]] = {}

    def upsert(self, no: int, note: str | None) -> None:
        """One row."""
        self.rows.setdefault(("a", no), [0, None])[1] = note

    def delete(self, no: int) -> None:
        """One row."""
        self.rows.pop(("a", no), None)

    def update_where(self, seq: int, wanted: str | None, note: str | None) -> None:
        """Those alike."""
        self.rows |= {key: [seq, note] for key, row in self.rows.items() if row[1] == wanted}

    def delete_where(self, wanted: str | None) -> None:
        """Those alike."""
        self.rows = {key: row for key, row in self.rows.items() if row[1] != wanted}


@pytest.mark.parametrize("seed", range(20))
def test_searches_find_what_a_look_at_every_row_finds(seed: int) -> None:
    """Rows that were changed, removed, made again or taken back since the last search, too."""
    random, rows, model = Random(seed), expected(), Model()
    for seq in range(1, 150):
        no, note, wanted = random.randrange(8), random.choice((None, "x", "x\0")), random.choice((None, "x", "x\0"))
        shown_note, shown_wanted = (text and text.replace("\0", "\ufffd") for text in (note, wanted))
        change, same = random.choice(
            (
                (partial(rows.upsert, "things", thing(no), note=note), partial(model.upsert, no, shown_note)),
                (partial(rows.delete, "things", thing(no)), partial(model.delete, no)),
                (
                    partial(rows.update_where, "things", {"name": "a", "note": wanted}, sum=seq, note=note),
                    partial(model.update_where, seq, shown_wanted, shown_note),
                ),
                (
                    partial(rows.delete_where, "things", {"name": "a", "note": wanted}),
                    partial(model.delete_where, shown_wanted),
                ),
            )
        )
        if random.random() < 0.3:
            assert applied(rows, seq, partial(failing, change)) is not None
        else:
            assert applied(rows, seq, change) is None
            same()
        assert shown(rows) == model.rows


def failing(change: Callable[[], None]) -> None:
    """At fault after this."""
    change()
    raise ValueError


def test_a_search_looks_at_no_other_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else so many rows with so many searches would take a day."""
    look = Mock(side_effect=expected_table._looks_like)
    monkeypatch.setattr(expected_table, "_looks_like", look)
    rows = expected()
    for no in range(200):

        def rule(no: int = no) -> None:
            rows.append("things", name="a", no=no, note=f"note {no}")
            rows.update_where("things", {"name": "a", "note": f"note {no}"}, sum=no)

        assert applied(rows, no, rule) is None
    assert [row[0] for row in shown(rows).values()] == list(range(200))
    assert 0 < look.call_count < 200 * 10


class WithoutSql(test_rows.Changing):
    """What a fold can be asked for."""

    def _call(self, rows: Rows, name: str) -> None:
        """Nothing."""


@pytest.mark.parametrize("seed", range(20))
def test_a_fold_has_the_rows_that_are_written(seed: int) -> None:
    """The same random changes, and the same model, as the writer is held to."""
    changing, rows = WithoutSql(Random(seed)), ExpectedRows([test_rows.STORED], Part(), most=100)
    names = list(rows.tables["things"].places)
    for _ in range(200):
        changing.change(rows)
        assert {key: dict(zip(names, row, strict=True)) for key, row in shown(rows).items()} == changing.model


REFUSED: dict[str, Change] = {
    "another's row": lambda rows: rows.upsert("things", thing(1, "b"), sum=1),
    "another's row, appended": lambda rows: rows.append("things", name="b", no=7),
    "another's row, removed": lambda rows: rows.delete("things", thing(1, "b")),
    "another partition's": lambda rows: rows.upsert("times", {"partition": 1, "at": 0}, note="x"),
    "rows of others": lambda rows: rows.delete_where("things", {"name": "b"}),
    "rows of anybody": lambda rows: rows.update_where("things", {"note": "x"}, sum=1),
    "rows by no column": lambda rows: rows.delete_where("things", {"name": "a", "other": 1}),
    "rows by NULL that never is": lambda rows: rows.delete_where("things", {"name": "a", "sum": None}),
    "a key that changes": lambda rows: rows.update_where("things", {"name": "a"}, no=1),
    "a computed column": lambda rows: rows.upsert("things", thing(1), twice=1),
    "half a key": lambda rows: rows.update("things", {"name": "a"}, sum=1),
    "no table": lambda rows: rows.update("nothings", {"name": "a"}, sum=1),
    "no number": lambda rows: rows.increment("things", thing(1), note=1),
    "a shared row, updated": lambda rows: rows.update("shared", {"name": "x"}, most="x"),
    "a shared row, appended": lambda rows: rows.append("shared", name="x"),
    "a shared row, removed": lambda rows: rows.delete("shared", {"name": "x"}),
    "shared rows, looked for": lambda rows: rows.delete_where("shared", {"name": "x"}),
    "a sum that is set": lambda rows: rows.upsert("shared", {"name": "x"}, sum=1),
    "a least that is added to": lambda rows: rows.increment("shared", {"name": "x"}, least=1),
    "no statement": lambda rows: rows.sql("UPDATE {things} SET sum = 1"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("part", [Part(), Part(0, 2), Part(1, 2)])
def test_what_the_writer_refuses_is_refused(name: str, part: Part) -> None:
    """Whichever part of the rows is compared, and whether the row is there or not."""
    rows = expected(part)
    assert applied(rows, 1, lambda: REFUSED[name](rows))
    written = RowChanges({table.declared.name: Statement(table) for table in TABLES}, "topic-0")
    written.begin(event(1, lambda: None))
    with pytest.raises(ProjectionFailed):
        REFUSED[name](written)


def test_an_update_of_nothing_looks_for_nothing() -> None:
    """So its conditions may be any, as where rows are written."""
    rows = expected()
    assert applied(rows, 1, lambda: rows.update_where("things", {"note": "x"})) is None


def test_shared_rows_are_merged_in_whatever_order() -> None:
    """Text by its code points, as it is kept: without zero bytes."""
    said = ["ab", None, "a\0", "é", "\uffff", "😀"]
    for texts in (said, said[::-1], said[:3], said[2::-1]):
        rows = expected()
        for seq, text in enumerate(texts, 1):
            assert applied(rows, seq, partial(rows.upsert, "shared", {"name": "x"}, most=text, least=-seq)) is None
            assert applied(rows, seq, partial(rows.increment, "shared", {"name": "x"}, sum=2)) is None
        greatest = "😀" if len(texts) > 3 else "a\ufffd"
        assert shown(rows, "shared") == {("x",): [2 * len(texts), greatest, -len(texts)]}


def test_plain_sql_makes_the_table_that_it_changes_unknown() -> None:
    """What stands in it by then may be otherwise, so nothing is at fault either; other tables' rows stay right."""
    rows = expected(statements={STATEMENT: "things"})

    def rule() -> None:
        rows.append("things", name="a", no=1)
        rows.sql(STATEMENT, 3)
        rows.append("things", name="a", no=1)
        rows.update_where("things", {"name": "a", "sum": 3}, sum=4)
        rows.increment("shared", {"name": "x"}, sum=1)

    assert applied(rows, 4, rule) is None
    assert rows.not_compared == {"things": "rules change it by plain SQL"}
    assert (shown(rows), len(shown(rows, "shared"))) == ({}, 1)


def test_a_search_by_a_computed_column_makes_its_table_unknown() -> None:
    """A fold does not compute it."""
    rows = filled()
    assert applied(rows, 5, lambda: rows.delete_where("things", {"name": "a", "twice": 2})) is None
    assert rows.not_compared == {"things": "rules look for its rows by a computed column"}


def test_rows_that_are_no_longer_kept_take_no_room() -> None:
    """Nobody knows whether they are there."""
    table = Table("times", TIMES.columns, key=TIMES.key, owner="partition", by_time=ByTime("at", keep_days=1))
    rows = ExpectedRows([StoredTable("bank", 1, table)], Part(), most=1, since_us={"times": 5})
    for seq in range(1, 6):
        assert applied(rows, seq, partial(rows.append, "times", partition=0, at=seq)) is None
    assert list(shown(rows, "times")) == [(0, 5)]


def test_json_is_the_same_however_it_is_written() -> None:
    """By what it says: a number by its value, and `true` is no number."""
    column = Column("j", JSONB)
    assert is_same(column, '{"b":1.0,"a":[true,"\\u0041"]}', '{"a": [true, "A"], "b": 1}')
    assert not is_same(column, "[true]", "[1]")
    assert not is_same(column, '{"a":1}', '{"a": 1.0000000000000000000001}')
    assert not is_same(column, '"1"', "1")
