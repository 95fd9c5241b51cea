"""The rows that events change, gathered until they are written: `bennu.domain.Rows` for one transaction.

Changes are merged per key (`effects`), each table's for itself (`table_rows`, `shared_rows`).  Plain SQL
(`plain_calls`) may look at any table that is not shared, so all that came before it is written before it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from bennu.domain import Column
from bennu.domain.projection import Value
from bennu_qserver.errors import EventFault, ProjectionFailed
from bennu_qserver.limits import PLAIN_SQL_CHANGES
from bennu_qserver.owners import About, Turn
from bennu_qserver.pieces import Need, needed
from bennu_qserver.plain_calls import Owned, PlainCall
from bennu_qserver.shared_rows import SharedRows
from bennu_qserver.statements import Kind, Statement
from bennu_qserver.table_rows import TableRows
from bennu_qserver.values import array_text, first_fault, mended

NO_CALLS: Mapping[str, PlainCall] = {}


class Write(NamedTuple):
    """One statement to be executed."""

    sql: str
    arrays: Sequence[Value]
    """Of each column the values, as the text of an array; of plain SQL its values."""
    rows: int
    """Of plain SQL, which alone knows how many it changes, 1."""
    table: str
    """As declared."""
    where: str
    """Topic, events, table and columns, for messages."""
    mended: int = 0
    """Values that had a zero byte; those that keys were merged by aside."""
    needs: Need | None = None
    """What the rows are to stand in."""
    owned: Owned | None = None
    """It is plain SQL, which may change rows of this owner."""


class RowChanges:
    """See above.  `begin` each event before its rule: it is named in faults, and rows that are not its own refused."""

    def __init__(
        self, statements: Mapping[str, Statement], topic: str, calls: Mapping[str, PlainCall] = NO_CALLS
    ) -> None:
        self._turn = Turn()
        self._statements = statements
        self._calls = calls
        self._topic = topic
        self._done: list[tuple[dict[str, TableRows | SharedRows], Write]] = []
        """Calls of plain SQL, each behind the changes that came before it."""
        self._unwritten = False
        """Whether anything was changed since the last one."""
        self.changes = 0
        self._tables = {name: self._new(statement) for name, statement in statements.items()}

    def __bool__(self) -> bool:
        return self.changes > 0

    def begin(self, event: About) -> None:
        """It is this event's turn."""
        self._turn.begin(event)

    def upsert(self, table: str, key: Mapping[str, Value], **values: Value) -> None:
        """See `bennu.domain.Rows`."""
        self._of(table).upsert(key, values)

    def update(self, table: str, key: Mapping[str, Value], **values: Value) -> None:
        """See `bennu.domain.Rows`."""
        self._of(table).update(key, values)

    def increment(self, table: str, key: Mapping[str, Value], **amounts: int) -> None:
        """See `bennu.domain.Rows`."""
        self._of(table).increment(key, amounts)

    def append(self, table: str, **values: Value) -> None:
        """See `bennu.domain.Rows`."""
        self._of(table).append(values)

    def delete(self, table: str, key: Mapping[str, Value]) -> None:
        """See `bennu.domain.Rows`."""
        self._of(table).delete(key)

    def update_where(self, table: str, where: Mapping[str, Value], **values: Value) -> None:
        """See `bennu.domain.Rows`."""
        self._of(table).update_where(where, values)

    def delete_where(self, table: str, where: Mapping[str, Value]) -> None:
        """See `bennu.domain.Rows`."""
        self._of(table).delete_where(where)

    def sql(self, statement: str, *values: Value) -> None:
        """See `bennu.domain.Rows`."""
        call = self._calls.get(statement)
        if call is None:
            raise ProjectionFailed(f"statement `{statement}` is not among the `statements` of the projection")
        bound, count = call.bound(values)
        where = f"{self._topic}, seq {self._turn.seq}: table `{call.table}`, statement `{call.shortened}`"
        write = Write(call.sql, bound, 1, call.table, where, count, owned=call.owned(self._turn))
        self._done.append((self._closed(), write))
        self.changes += PLAIN_SQL_CHANGES

    def _closed(self) -> dict[str, TableRows | SharedRows]:
        """What was changed since the last call; shared tables, which no call looks at, are written once, at the end."""
        if not self._unwritten:
            return {}
        closed: dict[str, TableRows | SharedRows] = {
            name: rows for name, rows in self._tables.items() if isinstance(rows, TableRows)
        }
        self._tables |= {name: self._new(self._statements[name]) for name in closed}
        self._unwritten = False
        return closed

    def _new(self, statement: Statement) -> TableRows | SharedRows:
        of = SharedRows if statement.table.declared.shared else TableRows
        return of(statement.table, self._turn)

    def _of(self, table: str) -> TableRows | SharedRows:
        self.changes += 1
        self._unwritten = True
        found = self._tables.get(table)
        if found is None:
            raise ProjectionFailed(f"no table `{table}` is declared; there are {', '.join(self._tables)}")
        return found

    def writes(self) -> Iterator[Write]:
        """Statements in order.  Raises `EventFault` for a value that its column can't hold."""
        for tables, call in self._done:
            yield from self._written(tables)
            yield call
        yield from self._written(self._tables)

    def _written(self, tables: Mapping[str, TableRows | SharedRows]) -> Iterator[Write]:
        for name, rows in tables.items():
            for names, seqs, values in rows.said():
                columns = [rows.table.columns[column] for column in names]
                self._checked(name, columns, list(zip(*values, strict=True)), seqs=seqs)
            for shape, seqs, values in rows.groups():
                if shape.kind is Kind.UPDATE and not shape.sets:
                    continue  # an update that sets nothing
                columns = [rows.table.columns[column] for column in shape.columns]
                arrays, count = self._checked(name, columns, list(zip(*values, strict=True)), seqs=seqs)
                where = f"{self._topic}, seq {min(seqs)} to {max(seqs)}: table `{name}` ({', '.join(shape.columns)})"
                texts = list(map(array_text, arrays))
                need = needed(rows.table, shape.columns, arrays) if shape.kind.inserts else None
                yield Write(self._statements[name].sql(shape), texts, len(values), name, where, count, need)

    def _checked(
        self, table: str, columns: Sequence[Column], arrays: Sequence[Sequence[Value]], *, seqs: Sequence[int]
    ) -> tuple[list[Sequence[Value]], int]:
        """Arrays that the columns can hold, and how many values were mended for it."""
        checked, count = list(arrays), 0
        for number, (column, array) in enumerate(zip(columns, arrays, strict=True)):
            if first_fault(column, array) is None:
                continue
            checked[number] = better = mended(column, array)
            count += sum(one != other for one, other in zip(array, better, strict=True))
            if fault := first_fault(column, better):
                index, reason = fault
                where = f"{self._topic}, seq {seqs[index]}"
                raise EventFault(f"{where}: table `{table}`, column `{column.name}`: {reason}")
        return checked, count
