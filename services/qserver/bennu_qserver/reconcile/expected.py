"""What the rows must be: events applied one after another to dictionaries.

Nothing of how QServer writes is used here: no merging, no SQL, no transactions.  So what is wrong there shows, too.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from bennu.domain import BIGINT, JSONB, Column
from bennu.domain.projection import MAX, MIN, Value
from bennu_qserver.errors import EventFault, ProjectionFailed
from bennu_qserver.events import Event, project
from bennu_qserver.owners import About
from bennu_qserver.reconcile.cells import canonical_json, is_same
from bennu_qserver.reconcile.part import Part
from bennu_qserver.tables import StoredTable
from bennu_qserver.values import mended_text

Key = tuple[object, ...]
_NAMED = re.compile(r"\{\s*(\w+)[^{}]*\}")


def merged(column: Column, before: Value, said: Value) -> Value:
    """What a column of a shared table becomes; any other one becomes what is said."""
    if column.merge not in (MAX, MIN) or before is None or said is None:
        return before if column.merge in (MAX, MIN) and said is None else said
    return (max if column.merge == MAX else min)(before, said)  # both are of the column's type


class TooMany(Exception):
    """More rows than may be kept in memory at once: take smaller parts."""


class Row:
    """A row, and the event that touched it last."""

    __slots__ = ("key", "partition", "seq", "values")

    def __init__(self, key: tuple[Value, ...], values: list[Value]) -> None:
        self.key = key
        """As it is to be shown."""
        self.values = values
        """Of the columns in `ExpectedTable.places`, in their order."""
        self.partition = 0
        self.seq = 0

    def copy(self) -> "Row":
        """As it is now."""
        row = Row(self.key, list(self.values))
        row.partition, row.seq = self.partition, self.seq
        return row


class ExpectedTable:
    """The rows of one table."""

    def __init__(self, table: StoredTable, part: Part) -> None:
        self.table = table
        self.rows: dict[Key, Row] = {}
        self.key_columns = [table.columns[name] for name in table.key]
        self._part = part
        self._key_names = set(table.key)
        self._plain_keys = all(column.type != JSONB for column in self.key_columns)
        set_by_rules = [name for name in table.columns if name not in table.key and name not in table.computed]
        self.places = {name: place for place, name in enumerate(set_by_rules)}
        self.blank: list[Value] = [table.zero(name) for name in set_by_rules]

    def key_of(self, key: Mapping[str, Value]) -> tuple[Value, ...] | None:
        """Its values in order; None for a row of another part."""
        if key.keys() != self._key_names:
            raise ProjectionFailed(f"table `{self.table.declared.name}` has no key ({', '.join(key)})")
        whole = tuple([key[name] for name in self.table.key])
        for value in whole:
            if isinstance(value, str) and "\0" in value:
                whole = tuple([mended_text(value) if isinstance(value, str) else value for value in whole])
                break
        return whole if self._part.has(self.key_columns, whole) else None

    def place(self, name: str) -> int:
        """Of a column that a rule may set."""
        if name not in self.places:
            raise ProjectionFailed(f"table `{self.table.declared.name}` has no column `{name}` that can be set")
        return self.places[name]

    def value(self, row: "Row", name: str) -> Value:
        """Of a column, also one of the key."""
        place = self.places.get(name)
        return row.values[place] if place is not None else row.key[self.table.key.index(name)]

    def hashed(self, key: tuple[Value, ...]) -> Key:
        """By what rows are found: equal for keys that Postgres can't tell apart."""
        return key if self._plain_keys else hashed(self.table, key)


def hashed(table: StoredTable, key: Sequence[Value]) -> Key:
    """A key by which a row is looked up."""
    columns = [table.columns[name] for name in table.key]
    return tuple([canonical_json(value) if c.type == JSONB else value for c, value in zip(columns, key, strict=True)])


class ExpectedRows:
    """`bennu.domain.Rows`, in memory; at most `most` rows."""

    def __init__(self, tables: Iterable[StoredTable], part: Part, *, most: int) -> None:
        self.tables = {table.declared.name: ExpectedTable(table, part) for table in tables}
        self.seq = 0
        self._partition = 0
        self._most = most
        self._count = 0
        self.not_compared: dict[str, str] = {}
        """Tables of which it is not known what they must hold, and why."""
        self._before: list[tuple[ExpectedTable, Key, Row | None]] = []
        """What the event found, to be put back if it can't be applied."""

    def take(self, event: Event) -> str | None:
        """Apply an event; what is at fault with it, if anything: then nothing of it is applied.  Raises `TooMany`."""
        self._before.clear()
        try:
            project(event, self)
        except EventFault as fault:
            for table, key, row in reversed(self._before):
                self._put(table, key, row)
            return str(fault)
        if self._count > self._most:
            raise TooMany
        return None

    def begin(self, event: About) -> None:
        """It is this event's turn."""
        self.seq, self._partition = event.meta.seq, event.meta.partition

    # --- `bennu.domain.Rows`

    def upsert(self, table: str, key: Mapping[str, Value], **values: Value) -> None:
        """See `bennu.domain.Rows`."""
        found = self._of(table)
        self._set(found, self._row(found, key, create=True), values)

    def update(self, table: str, key: Mapping[str, Value], **values: Value) -> None:
        """See `bennu.domain.Rows`."""
        found = self._of(table)
        self._set(found, self._row(found, key, create=False), values)

    def increment(self, table: str, key: Mapping[str, Value], **amounts: int) -> None:
        """See `bennu.domain.Rows`."""
        found = self._of(table)
        row = self._row(found, key, create=True)
        for name, amount in amounts.items():
            place = found.place(name)
            if found.table.columns[name].type != BIGINT:
                raise ProjectionFailed(f"table `{table}`, column `{name}` can't be added to")
            if row is not None:
                row.values[place] = int(row.values[place] or 0) + amount

    def append(self, table: str, **values: Value) -> None:
        """See `bennu.domain.Rows`."""
        found = self._of(table)
        if missing := set(found.table.key).difference(values):
            raise ProjectionFailed(f"table `{table}`: a new row needs {', '.join(sorted(missing))}")
        key = {name: values.pop(name) for name in found.table.key}
        row = self._row(found, key, create=True)
        if row is not None and self._before[-1][2] is not None:
            raise ProjectionFailed(f"table `{table}`: appends a row that is there")
        self._set(found, row, values)

    def delete(self, table: str, key: Mapping[str, Value]) -> None:
        """See `bennu.domain.Rows`."""
        found = self._of(table)
        whole = found.key_of(key)
        if whole is not None:
            place = found.hashed(whole)
            self._remember(found, place)
            self._put(found, place, None)

    def update_where(self, table: str, where: Mapping[str, Value], **values: Value) -> None:
        """Set these columns of all rows whose columns equal those of `where`; None is NULL."""
        found = self._of(table)
        for key in self._like(found, where):
            self._remember(found, key)
            row = found.rows[key]
            row.partition, row.seq = self._partition, self.seq
            self._set(found, row, values)

    def delete_where(self, table: str, where: Mapping[str, Value]) -> None:
        """Remove all such rows."""
        found = self._of(table)
        for key in self._like(found, where):
            self._remember(found, key)
            self._put(found, key, None)

    def sql(self, statement: str, *_values: Value) -> None:
        """What a fold can't do: the tables that the statement names, as `{table}`, are not compared."""
        for name in _NAMED.findall(statement):
            self.not_compared.setdefault(self._of(name).table.declared.name, "rules change it by plain SQL")

    # --- rows

    def _like(self, table: ExpectedTable, where: Mapping[str, Value]) -> list[Key]:
        columns = [table.table.columns[name] for name in where]
        return [
            key
            for key, row in table.rows.items()
            if all(
                is_same(column, value, table.value(row, column.name))
                for column, value in zip(columns, where.values(), strict=True)
            )
        ]

    def _of(self, table: str) -> ExpectedTable:
        if table not in self.tables:
            raise ProjectionFailed(f"no table `{table}` is declared")
        return self.tables[table]

    def _row(self, table: ExpectedTable, key: Mapping[str, Value], *, create: bool) -> Row | None:
        """The row to be changed; None where there is none, or it is of another part."""
        whole = table.key_of(key)
        if whole is None:
            return None
        place = table.hashed(whole)
        row = table.rows.get(place)
        if row is None and not create:
            return None
        self._remember(table, place)
        if row is None:
            row = Row(whole, list(table.blank))
            self._put(table, place, row)
        row.partition, row.seq = self._partition, self.seq
        return row

    def _set(self, table: ExpectedTable, row: Row | None, values: Mapping[str, Value]) -> None:
        for name, value in values.items():
            place = table.place(name)
            if row is not None:
                row.values[place] = merged(table.table.columns[name], row.values[place], value)

    def _remember(self, table: ExpectedTable, key: Key) -> None:
        row = table.rows.get(key)
        self._before.append((table, key, row.copy() if row is not None else None))

    def _put(self, table: ExpectedTable, key: Key, row: Row | None) -> None:
        before = len(table.rows)
        if row is None:
            table.rows.pop(key, None)
        else:
            table.rows[key] = row
        self._count += len(table.rows) - before
