"""The SQL of row changes: a few statements a table, each taking one array a column.

An array travels as the text of one, see `values.array_text`; a `timestamptz` as microseconds, which become a time in
Postgres: exact, and without a Python object for each value.
"""

from enum import Enum
from functools import cache
from typing import NamedTuple

from bennu.domain import MAX, SUM, TEXT, TIMESTAMP
from bennu.domain.projection import ByTime
from bennu_qserver.tables import StoredTable, quoted


class Kind(Enum):
    """What becomes of the rows that a statement names."""

    APPEND = "append"
    UPSERT = "upsert"
    UPDATE = "update"
    DELETE = "delete"
    MERGE = "merge"
    UPDATE_WHERE = "update where"
    DELETE_WHERE = "delete where"

    @property
    def inserts(self) -> bool:
        """Whether rows may come to be by it."""
        return self in (Kind.APPEND, Kind.UPSERT, Kind.MERGE)


class Shape(NamedTuple):
    """Kind and columns of a statement; one group of changes shares it.  Its arrays are key, sets, adds, in order.

    `key` are the columns by which rows are found; `nulls` others, which are NULL in them.
    """

    kind: Kind
    key: tuple[str, ...]
    sets: tuple[str, ...] = ()
    adds: tuple[str, ...] = ()
    nulls: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        return self.key + self.sets + self.adds


def kept_since(by_time: ByTime, now: str) -> str:
    """The beginning of the first day or month that is kept at this time, as SQL; only where not all are."""
    return f"date_trunc('{by_time.every}', {now} - {by_time.keep_days} * interval '24 hours', 'UTC')"


class Statement:
    """Statements of one table, each made once."""

    def __init__(self, table: StoredTable) -> None:
        self.table = table
        self._target = f"{table.sql} AS t"
        self.sql = cache(self._sql)

    def _sql(self, shape: Shape) -> str:
        match shape.kind:
            case Kind.APPEND:
                return self._insert(shape)
            case Kind.UPSERT | Kind.MERGE:
                return f"{self._insert(shape)} ON CONFLICT ({_names(shape.key)}) {self._on_conflict(shape)}"
            case Kind.UPDATE:
                sets = ", ".join(f"{quoted(name)} = {self._value(name)}" for name in shape.sets)
                return f"UPDATE {self._target} SET {sets} FROM {self._source(shape)} WHERE {self._same_key()}"  # noqa: S608
            case Kind.UPDATE_WHERE | Kind.DELETE_WHERE:
                return self._where(shape)
        return f"DELETE FROM {self._target} USING {self._source(shape)} WHERE {self._same_key()}"  # noqa: S608 - no values

    def _insert(self, shape: Shape) -> str:
        values = ", ".join(map(self._value, shape.columns))
        columns = _names(shape.columns)
        source = f"{self._source(shape)}{self._kept()}"
        return f"INSERT INTO {self._target} ({columns}) SELECT {values} FROM {source}"  # noqa: S608 - no values

    def _kept(self) -> str:
        """Rows of days and months that are dropped are not written again: see `pieces`."""
        by_time = self.table.declared.by_time
        if by_time is None or not by_time.keep_days:
            return ""
        since = kept_since(by_time, "now()")
        return f" WHERE {self._value(by_time.column)} >= (SELECT {since})"  # a SELECT of its own is computed once

    def _where(self, shape: Shape) -> str:
        """A column may be both looked for and set, so the source calls its columns by their numbers."""
        names = tuple(f"c{number}" for number, _ in enumerate(shape.columns))
        source = f"unnest({self._arrays(shape)}) AS s({_names(names)})"
        values = [self._converted(column, name) for column, name in zip(shape.columns, names, strict=True)]
        found = [f"t.{quoted(name)} = {value}" for name, value in zip(shape.key, values, strict=False)]
        found += [f"t.{quoted(name)} IS NULL" for name in shape.nulls]
        condition = " AND ".join(found)
        if shape.kind is Kind.DELETE_WHERE:
            return f"DELETE FROM {self._target} USING {source} WHERE {condition}"  # noqa: S608 - no values
        sets = ", ".join(
            f"{quoted(name)} = {value}" for name, value in zip(shape.sets, values[len(shape.key) :], strict=True)
        )
        return f"UPDATE {self._target} SET {sets} FROM {source} WHERE {condition}"  # noqa: S608 - no values

    def _on_conflict(self, shape: Shape) -> str:
        if shape.kind is Kind.MERGE:
            sets = [f"{quoted(name)} = {self._merged(name)}" for name in shape.sets]
            return f"DO UPDATE SET {', '.join(sets)}" if sets else "DO NOTHING"
        sets = [f"{quoted(name)} = excluded.{quoted(name)}" for name in shape.sets]
        sets += [f"{quoted(name)} = coalesce(t.{quoted(name)}, 0) + excluded.{quoted(name)}" for name in shape.adds]
        return f"DO UPDATE SET {', '.join(sets)}" if sets else "DO NOTHING"

    def _merged(self, name: str) -> str:
        column = self.table.columns[name]
        if column.merge == SUM:
            return f"t.{quoted(name)} + excluded.{quoted(name)}"
        function = "greatest" if column.merge == MAX else "least"  # both pass over NULL
        collation = ' COLLATE "C"' if column.type == TEXT else ""  # by code points, as in Python
        return f"{function}(t.{quoted(name)}{collation}, excluded.{quoted(name)}{collation})"

    def _source(self, shape: Shape) -> str:
        return f"unnest({self._arrays(shape)}) AS s({_names(shape.columns)})"

    def _arrays(self, shape: Shape) -> str:
        return ", ".join(f"${n}::text::{self._array_type(name)}[]" for n, name in enumerate(shape.columns, 1))

    def _array_type(self, name: str) -> str:
        kind = self.table.columns[name].type
        return "bigint" if kind == TIMESTAMP else kind

    def _value(self, name: str) -> str:
        return self._converted(name, name)

    def _converted(self, name: str, source: str) -> str:
        value = f"s.{quoted(source)}"
        if self.table.columns[name].type != TIMESTAMP:
            return value
        # Seconds and microseconds apart: an interval is multiplied in floating point, which is exact only so.
        return (
            f"'epoch'::timestamptz + ({value} / 1000000) * interval '1 second'"
            f" + ({value} % 1000000) * interval '1 microsecond'"
        )

    def _same_key(self) -> str:
        return " AND ".join(f"t.{quoted(name)} = {self._value(name)}" for name in self.table.key)


def _names(columns: tuple[str, ...]) -> str:
    return ", ".join(map(quoted, columns))
