"""The rows of one table as they must be, in memory, and how those are found that are looked for."""

from collections.abc import Mapping, Sequence

from bennu.domain import JSONB, Column
from bennu.domain.projection import MAX, MIN, Value
from bennu_qserver.errors import NotOwner, ProjectionFailed
from bennu_qserver.owners import Owner
from bennu_qserver.reconcile.cells import canonical_json
from bennu_qserver.reconcile.part import Part
from bennu_qserver.tables import StoredTable
from bennu_qserver.values import mended, mended_text

Key = tuple[object, ...]


def merged(column: Column, before: Value, said: Value) -> Value:
    """What a column of a shared table becomes; any other one becomes what is said."""
    if column.merge not in (MAX, MIN) or before is None or said is None:
        return before if column.merge in (MAX, MIN) and said is None else said
    return (max if column.merge == MAX else min)(before, said)  # both are of the column's type


def held(column: Column, value: Value) -> Value:
    """The value without zero bytes, as Postgres holds it."""
    if isinstance(value, str) and ("\0" in value or (column.type == JSONB and "\\u0000" in value)):
        (value,) = mended(column, (value,))
    return value


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
    """The rows of one table that are in a part of them, and not older than is kept."""

    def __init__(self, table: StoredTable, part: Part, *, since_us: int | None = None) -> None:
        self.table = table
        self.rows: dict[Key, Row] = {}
        self.owner = Owner(table)
        self.not_compared = ""
        """Why it is not known what the rows must be; then there are none here."""
        self.key_columns = [table.columns[name] for name in table.key]
        self._part = part
        self._since_us = since_us
        self._time_at = table.key.index(table.declared.by_time.column) if table.declared.by_time else -1
        self._key_names = set(table.key)
        self._plain_keys = all(column.type != JSONB for column in self.key_columns)
        set_by_rules = [name for name in table.columns if name not in table.key and name not in table.computed]
        self.places = {name: place for place, name in enumerate(set_by_rules)}
        self.blank: list[Value] = [table.zero(name) for name in set_by_rules]
        self._searches: dict[tuple[str, ...], dict[Key, dict[Key, None]]] = {}
        """By the columns that are looked at: keys of rows by the values of these, but for `_changed` ones."""
        self._changed: set[Key] = set()

    # --- what is allowed

    def check_key(self, key: Mapping[str, Value]) -> None:
        """Raise `ProjectionFailed` unless these are its columns."""
        if key.keys() != self._key_names:
            raise ProjectionFailed(f"table `{self.table.declared.name}` has no key ({', '.join(key)})")

    def place(self, name: str) -> int:
        """Of a column that a rule may set."""
        if name not in self.places:
            raise ProjectionFailed(f"table `{self.table.declared.name}` has no column `{name}` that can be set")
        return self.places[name]

    def check_merge(self, names: Mapping[str, object], merges: tuple[str, ...], change: str) -> None:
        """Raise `ProjectionFailed` where a shared table has a column among them that is merged otherwise."""
        if not self.table.declared.shared:
            return
        for name in names:
            if self.place(name) >= 0 and self.table.columns[name].merge not in merges:
                raise ProjectionFailed(f"table `{self.table.declared.name}` is shared, and `{name}` takes no {change}")

    def check_not_shared(self, change: str) -> None:
        """Raise `ProjectionFailed` for a change that a shared table does not take."""
        if self.table.declared.shared:
            raise ProjectionFailed(f"table `{self.table.declared.name}` is shared, and takes no {change}")

    def check_where(self, where: Mapping[str, Value]) -> None:
        """Raise `ProjectionFailed` for conditions that name no columns, or no owner."""
        table = self.table
        for name, value in where.items():
            if name not in table.columns:
                raise ProjectionFailed(f"table `{table.declared.name}` has no column `{name}`")
            if value is None and not table.columns[name].nullable and name not in table.computed:
                raise ProjectionFailed(f"table `{table.declared.name}`: `{name}` is never NULL")
        if self.owner.column not in where:
            raise NotOwner(f"table `{table.declared.name}`: looks for rows that may belong to others")

    # --- rows

    def key_of(self, key: Mapping[str, Value]) -> tuple[Value, ...] | None:
        """Its values in order; None for a row that is not compared here."""
        if self.not_compared:
            return None
        whole = tuple([key[name] for name in self.table.key])
        for value in whole:
            if isinstance(value, str) and "\0" in value:
                whole = tuple([mended_text(value) if isinstance(value, str) else value for value in whole])
                break
        if self._since_us is not None and self._is_old(whole[self._time_at]):
            return None
        return whole if self._part.has(self.key_columns, whole) else None

    def _is_old(self, time_us: Value) -> bool:
        return isinstance(time_us, int) and self._since_us is not None and time_us < self._since_us

    def hashed(self, key: tuple[Value, ...]) -> Key:
        """By what rows are found: equal for keys that Postgres can't tell apart."""
        return key if self._plain_keys else hashed(self.table, key)

    def put(self, key: Key, row: Row | None) -> None:
        """It is this, or there is none."""
        self.touch(key)
        if row is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = row

    def forget(self, why: str) -> None:
        """It is not known what the rows must be."""
        self.not_compared = why
        self.rows.clear()
        self._searches.clear()
        self._changed.clear()

    # --- rows that are looked for

    def touch(self, key: Key) -> None:
        """The row is about to change."""
        if not self._searches or key in self._changed:
            return
        self._changed.add(key)
        if (row := self.rows.get(key)) is not None:
            for names, found in self._searches.items():
                alike = found[looks := self._looks(row, names)]
                del alike[key]
                if not alike:
                    del found[looks]

    def like(self, where: Mapping[str, Value]) -> list[Key]:
        """Keys of the rows whose columns equal these: found without a look at the others."""
        names = tuple(sorted(where))
        if names not in self._searches:
            self._searches[names] = {}
            for key in self.rows.keys() - self._changed:
                self._index(key, names)
        for key in self._changed & self.rows.keys():
            for each in self._searches:
                self._index(key, each)
        self._changed.clear()
        wanted = tuple([_looks_like(self.table.columns[name], where[name]) for name in names])
        found = self._searches[names].get(wanted)
        return list(found or ())

    def _index(self, key: Key, names: tuple[str, ...]) -> None:
        self._searches[names].setdefault(self._looks(self.rows[key], names), {})[key] = None

    def _looks(self, row: Row, names: tuple[str, ...]) -> Key:
        return tuple([_looks_like(self.table.columns[name], self._value(row, name)) for name in names])

    def _value(self, row: Row, name: str) -> Value:
        place = self.places.get(name)
        return row.values[place] if place is not None else row.key[self.table.key.index(name)]


def _looks_like(column: Column, value: Value) -> object:
    value = held(column, value)
    return canonical_json(value) if column.type == JSONB and value is not None else value


def hashed(table: StoredTable, key: Sequence[Value]) -> Key:
    """A key by which a row is looked up."""
    columns = [table.columns[name] for name in table.key]
    return tuple([canonical_json(value) if c.type == JSONB else value for c, value in zip(columns, key, strict=True)])
