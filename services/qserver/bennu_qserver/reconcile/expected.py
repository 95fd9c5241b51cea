"""What the rows must be: events applied one after another to dictionaries.

Nothing of how QServer writes is used here: no merging, no SQL, no transactions.  So what is wrong there shows, too.
What is refused is the same: an event at fault is parked there, and here changes nothing.
"""

from collections.abc import Iterable, Mapping

from bennu.domain import BIGINT
from bennu.domain.projection import MAX, MIN, SUM, Value
from bennu_qserver.errors import EventFault, ProjectionFailed
from bennu_qserver.events import Event, project
from bennu_qserver.owners import About, Turn
from bennu_qserver.reconcile.expected_table import ExpectedTable, Key, Row, held, merged
from bennu_qserver.reconcile.part import Part
from bennu_qserver.tables import StoredTable

BY_SQL = "rules change it by plain SQL"
BY_COMPUTED = "rules look for its rows by a computed column"
ALL: Mapping[str, int] = {}
NONE: Mapping[str, str] = {}


class TooMany(Exception):
    """More rows than may be kept in memory at once: take smaller parts."""


class ExpectedRows:
    """`bennu.domain.Rows`, in memory; at most `most` rows."""

    def __init__(
        self,
        tables: Iterable[StoredTable],
        part: Part,
        *,
        most: int,
        since_us: Mapping[str, int] = ALL,
        statements: Mapping[str, str] = NONE,
    ) -> None:
        """`since_us`: of tables that keep no older rows.  `statements`: of plain SQL, the tables they change."""
        self.tables = {
            table.declared.name: ExpectedTable(table, part, since_us=since_us.get(table.declared.name))
            for table in tables
        }
        self._turn = Turn()
        self._most = most
        self._count = 0
        self._statements = statements
        for name in statements.values():
            self.tables[name].forget(BY_SQL)
        self._before: list[tuple[ExpectedTable, Key, Row | None]] = []
        """What the event found, to be put back if it can't be applied."""

    @property
    def not_compared(self) -> dict[str, str]:
        """Tables of which it is not known what they must hold, and why."""
        return {name: table.not_compared for name, table in self.tables.items() if table.not_compared}

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
        self._turn.begin(event)

    # --- `bennu.domain.Rows`

    def upsert(self, table: str, key: Mapping[str, Value], **values: Value) -> None:
        """See `bennu.domain.Rows`."""
        found = self._of(table)
        found.check_merge(values, (MAX, MIN), "upsert")
        self._set(found, self._row(found, key, create=True), values)

    def update(self, table: str, key: Mapping[str, Value], **values: Value) -> None:
        """See `bennu.domain.Rows`."""
        found = self._of(table)
        found.check_not_shared("update")
        self._set(found, self._row(found, key, create=False), values)

    def increment(self, table: str, key: Mapping[str, Value], **amounts: int) -> None:
        """See `bennu.domain.Rows`."""
        found = self._of(table)
        found.check_merge(amounts, (SUM,), "increment")
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
        found.check_not_shared("append")
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
        found.check_not_shared("delete")
        place = self._place(found, key)
        if place is not None:
            self._remember(found, found.hashed(place))
            self._put(found, found.hashed(place), None)

    def update_where(self, table: str, where: Mapping[str, Value], **values: Value) -> None:
        """See `bennu.domain.Rows`."""
        found = self._of(table)
        found.check_not_shared("update_where")
        for name in values:
            found.place(name)
        for key in self._like(found, where) if values else ():
            self._remember(found, key)
            row = found.rows[key]
            self._touched(row)
            self._set(found, row, values)

    def delete_where(self, table: str, where: Mapping[str, Value]) -> None:
        """See `bennu.domain.Rows`."""
        found = self._of(table)
        found.check_not_shared("delete_where")
        for key in self._like(found, where):
            self._remember(found, key)
            self._put(found, key, None)

    def sql(self, statement: str, *_values: Value) -> None:
        """What a fold can't do; the tables that it changes are not compared."""
        if statement not in self._statements:
            raise ProjectionFailed(f"statement `{statement}` is not among the `statements` of the projection")

    # --- rows

    def _of(self, table: str) -> ExpectedTable:
        if table not in self.tables:
            raise ProjectionFailed(f"no table `{table}` is declared")
        return self.tables[table]

    def _like(self, table: ExpectedTable, where: Mapping[str, Value]) -> list[Key]:
        table.check_where(where)
        table.owner.check(where[table.owner.column], self._turn)
        if not table.not_compared and not table.table.computed.isdisjoint(where):
            self._count -= len(table.rows)
            table.forget(BY_COMPUTED)
        return table.like(where)

    def _place(self, table: ExpectedTable, key: Mapping[str, Value]) -> tuple[Value, ...] | None:
        """The key of a row that is the event's to change; None where it is not compared here."""
        table.check_key(key)
        if table.owner.column:
            table.owner.check(key[table.owner.column], self._turn)
        return table.key_of(key)

    def _row(self, table: ExpectedTable, key: Mapping[str, Value], *, create: bool) -> Row | None:
        """The row to be changed; None where there is none, or it is not compared here."""
        whole = self._place(table, key)
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
        self._touched(row)
        return row

    def _touched(self, row: Row) -> None:
        row.partition, row.seq = self._turn.partition or 0, self._turn.seq

    def _set(self, table: ExpectedTable, row: Row | None, values: Mapping[str, Value]) -> None:
        for name, value in values.items():
            place = table.place(name)
            if row is not None:
                column = table.table.columns[name]
                row.values[place] = merged(column, row.values[place], held(column, value))

    def _remember(self, table: ExpectedTable, key: Key) -> None:
        table.touch(key)
        row = table.rows.get(key)
        self._before.append((table, key, row.copy() if row is not None else None))

    def _put(self, table: ExpectedTable, key: Key, row: Row | None) -> None:
        if table.not_compared:  # since a moment ago, and the event is taken back
            return
        before = len(table.rows)
        table.put(key, row)
        self._count += len(table.rows) - before
