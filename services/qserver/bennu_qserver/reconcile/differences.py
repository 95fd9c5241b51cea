"""What is not as it should be, for people and for programs."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from bennu.domain import TIMESTAMP
from bennu.domain.projection import Value
from bennu_qserver.reconcile.cells import is_same
from bennu_qserver.reconcile.expected import ExpectedRows
from bennu_qserver.reconcile.expected_table import ExpectedTable, Row
from bennu_qserver.reconcile.found import Found, FoundRow

MISSING, EXTRA, DIFFERS, COMPUTED = "missing", "extra", "differs", "computed"
POSITION, TABLE, EVENT = "position", "table", "event"
SHOWN_CHARS = 200
TURN_ROWS = 100


class Difference(NamedTuple):
    """One of them."""

    kind: str
    what: str
    """In words."""
    table: str = ""
    key: Mapping[str, Value] = {}
    columns: Mapping[str, tuple[object, object]] = {}
    """By name: what is expected, and what was found."""
    partition: int | None = None
    seq: int | None = None
    """The last event that touched the row; None: none did."""

    @classmethod
    def of_event(cls, place: tuple[int, int], name: str, fault: str) -> "Difference":
        """The tables show it, or so it seems, and today's rules can't apply it."""
        partition, seq = place
        what = (
            f"event {seq} of partition {partition}, {name}: not among the dead letters, but can't be applied: {fault}"
        )
        return cls(EVENT, what, partition=partition, seq=seq)

    @classmethod
    def of_position(cls, partition: int, wrong: Mapping[str, tuple[object, object]]) -> "Difference":
        """The journal does not lead to where the tables say that they stand."""
        said = ", ".join(f"{name} {_shown(found)} for {_shown(expected)}" for name, (expected, found) in wrong.items())
        what = f"position of partition {partition}: not one that the journal leads to: {said}"
        return cls(POSITION, what, columns=wrong, partition=partition)

    @property
    def is_of_row(self) -> bool:
        """Else it is the same whichever part of the rows is compared."""
        return self.kind in (MISSING, EXTRA, DIFFERS, COMPUTED)

    @property
    def place(self) -> object:
        """The same for what is found twice."""
        return None if self.is_of_row else (self.kind, self.table, self.partition, self.seq)

    @property
    def plain(self) -> dict[str, object]:
        """As JSON."""
        columns = {name: {"expected": _plain(one), "found": _plain(two)} for name, (one, two) in self.columns.items()}
        plain: dict[str, object] = {"kind": self.kind, "table": self.table, "key": dict(self.key), "columns": columns}
        return plain | {"partition": self.partition, "seq": self.seq, "what": self.what}


def differences(expected: ExpectedRows, found: Found) -> Iterator[Difference | None]:
    """Of all tables that were read, in the order of their declaration; None now and then, for others to have a turn."""
    for name, told in found.tables_differ.items():
        yield Difference(TABLE, f"table {name}: not as it was made: {told}; its rows are not compared", name)
    for name, rows in found.rows.items():
        if name in expected.not_compared:
            continue
        table = expected.tables[name]
        for number, (key, row) in enumerate(table.rows.items()):
            if number % TURN_ROWS == 0:
                yield None
            there = rows.get(key)
            if there is None:
                said = _words(table, row.key, MISSING, said=f"it is not there{_last(row)}")
                yield Difference(*said, _named(table, row.key), _all(table, row), row.partition, row.seq)
            else:
                yield from _compared(table, row, there)
        for number, (key, there) in enumerate(rows.items()):
            if number % (TURN_ROWS * 10) == 0:
                yield None
            if key not in table.rows:
                said = _words(table, there.key, EXTRA, said="no event makes it")
                yield Difference(*said, _named(table, there.key))


def _compared(table: ExpectedTable, row: Row, there: FoundRow) -> Iterator[Difference]:
    key = _named(table, row.key)
    wrong = {
        name: (row.values[place], there.values[place])
        for name, place in table.places.items()
        if not is_same(table.table.columns[name], row.values[place], there.values[place])
    }
    if wrong:
        told = "; ".join(
            f"{name} is {_cell(table, name, two)}, expected {_cell(table, name, one)}"
            for name, (one, two) in wrong.items()
        )
        yield Difference(*_words(table, row.key, DIFFERS, said=told + _last(row)), key, wrong, row.partition, row.seq)
    if there.wrong:
        told = f"{', '.join(there.wrong)}: not what the row's other columns make it"
        yield Difference(*_words(table, row.key, COMPUTED, said=told), key, {}, row.partition, row.seq)


def _words(table: ExpectedTable, key: tuple[Value, ...], kind: str, *, said: str) -> tuple[str, str, str]:
    name = table.table.declared.name
    shown = ", ".join(f"{column}={_cell(table, column, value)}" for column, value in _named(table, key).items())
    return kind, f"table {name}, {shown}: {said}", name


def _named(table: ExpectedTable, key: tuple[Value, ...]) -> dict[str, Value]:
    return dict(zip(table.table.key, key, strict=True))


def _all(table: ExpectedTable, row: Row) -> dict[str, tuple[object, object]]:
    return {name: (row.values[place], None) for name, place in table.places.items()}


def _last(row: Row) -> str:
    return f" (last touched by event {row.seq} of partition {row.partition})"


def _cell(table: ExpectedTable, name: str, value: Value) -> str:
    column = table.table.columns[name]
    unit = " us since 1970" if column.type == TIMESTAMP and value is not None else ""
    return f"{_shown(value)}{unit}"


def _shown(value: object) -> str:
    text = value.hex() if isinstance(value, bytes) else "NULL" if value is None else repr(value)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"


def _plain(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value
