"""The rows that events change, merged per key until they are written.

For each key at most one effect is kept: what the row will be, whatever it was.  Only a change that depends on whether
the row was there (an `update`, then something that creates) can't be merged; it opens a second layer for its key, and
layers are written one after another.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from bennu.domain import BIGINT, Column
from bennu.domain.projection import Value
from bennu_qserver.errors import EventFault, ProjectionFailed
from bennu_qserver.pieces import Need, needed
from bennu_qserver.statements import Kind, Shape, Statement
from bennu_qserver.tables import StoredTable
from bennu_qserver.values import array_text, first_fault, mended, mended_text

Key = tuple[Value, ...]
Changes = tuple[list[int], list[tuple[Value, ...]]]
"""The numbers of events, and beside each the values of the same columns."""


class Write(NamedTuple):
    """One statement to be executed."""

    sql: str
    arrays: Sequence[str]
    """Of each column the values, as the text of an array."""
    rows: int
    table: str
    """As declared."""
    where: str
    """Topic, events, table and columns, for messages."""
    mended: int = 0
    """Values that had a zero byte; those that keys were merged by aside."""
    needs: Need | None = None
    """What the rows are to stand in."""


class Effect:
    """What becomes of one row.

    `fresh`: whatever the row was is gone.  `create`: it will be there.  Neither: the row is changed if it is there.
    """

    __slots__ = ("adds", "appended", "create", "fresh", "seq", "sets")

    def __init__(self, *, create: bool) -> None:
        self.fresh = False
        self.create = create
        self.appended = False
        """The row must not be there before."""
        self.sets: dict[str, Value] = {}
        self.adds: dict[str, int] = {}
        self.seq = 0

    @property
    def gone(self) -> bool:
        return self.fresh and not self.create

    def set(self, values: dict[str, Value]) -> None:
        """The dictionary is the effect's from now on."""
        if not self.sets:
            self.sets = values
        else:
            self.sets.update(values)
        if self.adds:
            for name in values:
                self.adds.pop(name, None)

    def add(self, amounts: Mapping[str, int]) -> None:
        for name, amount in amounts.items():
            if self.fresh or name in self.sets:
                self.sets[name] = int(self.sets.get(name) or 0) + amount
            else:
                self.adds[name] = self.adds.get(name, 0) + amount

    def remove(self) -> None:
        self.fresh, self.create, self.appended, self.sets, self.adds = True, False, False, {}, {}


def _getter(names: Sequence[str]) -> Callable[[Mapping[str, Value]], Key]:
    if len(names) > 1:
        return itemgetter(*names)
    (name,) = names
    return lambda values: (values[name],)


class TableRows:
    """Changes of one table."""

    def __init__(self, table: StoredTable) -> None:
        self.table = table
        self._layers: list[dict[Key, Effect]] = [{}]
        self._appended: dict[tuple[str, ...], Changes] = {}
        self._said: dict[tuple[str, ...], Changes] = {}
        self._known_shapes: set[tuple[str, ...]] = set()
        self._values_of_key = _getter(table.key)
        self._addable = {column.name for column in table.declared.columns if column.type == BIGINT}

    def say(self, values: Mapping[str, Value], seq: int) -> None:
        """Keep what may be merged away: an event whose value does not fit is at fault whatever comes after it."""
        if values:
            columns = tuple(values)
            kept = self._said.get(columns)
            if kept is None:
                kept = self._said[columns] = ([], [])
            kept[0].append(seq)
            kept[1].append(tuple(values.values()))

    def said(self) -> Iterator[tuple[Sequence[str], Sequence[int], list[tuple[Value, ...]]]]:
        """Columns, numbers of events, and values of all changes but appended rows."""
        return ((columns, seqs, values) for columns, (seqs, values) in self._said.items())

    def append(self, values: Mapping[str, Value], seq: int) -> None:
        columns = tuple(values)
        kept = self._appended.get(columns)
        if kept is None:
            self._check_columns(columns, needed=self.table.key)
            kept = self._appended[columns] = ([], [])
        if self._layers[0] and (effect := self._top(self._key(values))) is not None:
            self._append_over(effect, values, seq=seq)
            return
        kept[0].append(seq)
        kept[1].append(tuple(values.values()))

    def _append_over(self, effect: Effect, values: Mapping[str, Value], *, seq: int) -> None:
        if effect.create:
            raise ProjectionFailed(f"table `{self.table.declared.name}`: appends a row that is there")
        if not effect.fresh:  # an update, which can only have found no row
            key = self._key(values)
            effect = self._new(key, create=True, layer=self._depth(key))
            effect.fresh = effect.appended = True
        effect.create, effect.seq = True, seq
        effect.set({name: value for name, value in values.items() if name not in self.table.key})

    def adding(self, key: Mapping[str, Value], names: Sequence[str], seq: int) -> Effect:
        """The effect of a row that will be there, whose columns `names` can be added to."""
        if not self._addable.issuperset(names):
            self._check_addable(names)
        return self.creating(key, names, seq)

    def creating(self, key: Mapping[str, Value], names: Sequence[str], seq: int) -> Effect:
        """The effect of a row that will be there."""
        row = self._row(key, names)
        effect = self._top(row)
        if effect is None:
            effect = self._new(row, create=True, layer=0)
        elif not effect.create and not effect.fresh and effect.sets:
            effect = self._new(row, create=True, layer=self._depth(row))
        effect.create, effect.seq = True, seq
        return effect

    def changing(self, key: Mapping[str, Value], names: Sequence[str], seq: int) -> Effect | None:
        """The effect of a row that may be there; None if it certainly is not."""
        row = self._row(key, names)
        effect = self._top(row) or self._new(row, create=False, layer=0)
        effect.seq = seq
        return None if effect.fresh and not effect.create else effect

    def _row(self, key: Mapping[str, Value], names: Sequence[str]) -> Key:
        """The row of this key, which is one of the table's, as are `names` columns that can be set."""
        columns = (*key, "", *names)  # the empty name stands between key and values
        if columns not in self._known_shapes:
            self._check_key(key)
            self._check_columns(names, needed=())
            self._known_shapes.add(columns)
        return self._key(key)

    def _key(self, values: Mapping[str, Value]) -> Key:
        key = self._values_of_key(values)
        for value in key:
            if isinstance(value, str) and "\0" in value:  # mended before rows are merged, or two would become one
                return tuple([mended_text(value) if isinstance(value, str) else value for value in key])
        return key

    def _top(self, key: Key) -> Effect | None:
        if len(self._layers) == 1:  # nearly always
            return self._layers[0].get(key)
        for layer in reversed(self._layers):
            if (effect := layer.get(key)) is not None:
                return effect
        return None

    def _depth(self, key: Key) -> int:
        return sum(key in layer for layer in self._layers)

    def _new(self, key: Key, *, create: bool, layer: int) -> Effect:
        if layer == len(self._layers):
            self._layers.append({})
        effect = self._layers[layer][key] = Effect(create=create)
        return effect

    def _check_key(self, key: Mapping[str, Value]) -> None:
        if set(key) != set(self.table.key):
            declared = ", ".join(self.table.key)
            raise ProjectionFailed(
                f"table `{self.table.declared.name}` has the key ({declared}), not ({', '.join(key)})"
            )

    def _check_columns(self, names: Sequence[str], *, needed: Sequence[str]) -> None:
        for name in names:
            if name not in self.table.columns:
                raise ProjectionFailed(f"table `{self.table.declared.name}` has no column `{name}`")
            if name in self.table.computed:
                raise ProjectionFailed(f"table `{self.table.declared.name}`: `{name}` is computed and can't be set")
            if not needed and name in self.table.key:
                raise ProjectionFailed(f"table `{self.table.declared.name}`: `{name}` is its key and can't be changed")
        if missing := set(needed).difference(names):
            raise ProjectionFailed(f"table `{self.table.declared.name}`: a new row needs {', '.join(sorted(missing))}")

    def _check_addable(self, names: Sequence[str]) -> None:
        self._check_columns(names, needed=())
        for name in set(names) - self._addable:
            column = f"table `{self.table.declared.name}`, column `{name}`"
            raise ProjectionFailed(f"{column}: is of type {self.table.columns[name].type}, which can't be added to")

    def groups(self) -> Iterator[tuple[Shape, list[int], list[tuple[Value, ...]]]]:
        """Changes of one shape each, in the order in which they must be written."""
        for columns, (seqs, values) in self._appended.items():
            if seqs:
                yield Shape(Kind.APPEND, columns), seqs, values
        for layer in self._layers:
            yield from self._grouped(layer)

    def _grouped(self, layer: Mapping[Key, Effect]) -> Iterator[tuple[Shape, list[int], list[tuple[Value, ...]]]]:
        groups: dict[Shape, Changes] = {}
        alike: dict[tuple[object, ...], tuple[Shape, Changes]] = {}
        """The same groups, by what is cheaper to make and to hash than a shape."""
        for key, effect in layer.items():
            looks = (effect.fresh, effect.create, effect.appended, *effect.sets, "", *effect.adds)
            found = alike.get(looks)
            if found is None:
                shape = self._shape(effect)
                found = alike[looks] = shape, groups.setdefault(shape, ([], []))
            shape, (seqs, rows) = found
            seqs.append(effect.seq)
            rows.append(key + self._values(effect, shape))
        yield from ((shape, seqs, rows) for shape, (seqs, rows) in groups.items())

    def _shape(self, effect: Effect) -> Shape:
        key = self.table.key
        if effect.gone:
            return Shape(Kind.DELETE, key)
        if effect.fresh:  # the old row's columns must not show through: name them all
            others = tuple(name for name in self.table.columns if name not in key and name not in self.table.computed)
            return Shape(Kind.APPEND if effect.appended else Kind.UPSERT, key, others)
        kind = Kind.UPSERT if effect.create else Kind.UPDATE
        return Shape(kind, key, tuple(sorted(effect.sets)), tuple(sorted(effect.adds)))

    def _values(self, effect: Effect, shape: Shape) -> tuple[Value, ...]:
        sets, adds = effect.sets, effect.adds
        if effect.fresh:
            return tuple([sets[name] if name in sets else self.table.zero(name) for name in shape.sets])
        return (*[sets[name] for name in shape.sets], *[adds[name] for name in shape.adds])


class RowChanges:
    """`bennu.domain.Rows` for the events of one transaction.  Set `seq` before each rule: faults are named by it."""

    def __init__(self, statements: Mapping[str, Statement], topic: str) -> None:
        self._tables = {name: TableRows(statement.table) for name, statement in statements.items()}
        self._statements = statements
        self._topic = topic
        self.seq = 0
        self.changes = 0

    def __bool__(self) -> bool:
        return self.changes > 0

    def upsert(self, table: str, key: Mapping[str, Value], **values: Value) -> None:
        """See `bennu.domain.Rows`."""
        rows, seq = self._of(table), self.seq
        rows.creating(key, tuple(values), seq).set(values)
        rows.say(values, seq)

    def update(self, table: str, key: Mapping[str, Value], **values: Value) -> None:
        """See `bennu.domain.Rows`."""
        rows = self._of(table)
        effect = rows.changing(key, tuple(values), self.seq)
        if effect is not None:
            effect.set(values)
        rows.say(values, self.seq)

    def increment(self, table: str, key: Mapping[str, Value], **amounts: int) -> None:
        """See `bennu.domain.Rows`."""
        rows = self._of(table)
        rows.adding(key, tuple(amounts), self.seq).add(amounts)
        rows.say(amounts, self.seq)

    def append(self, table: str, **values: Value) -> None:
        """See `bennu.domain.Rows`."""
        self._of(table).append(values, self.seq)

    def delete(self, table: str, key: Mapping[str, Value]) -> None:
        """See `bennu.domain.Rows`."""
        effect = self._of(table).changing(key, (), self.seq)
        if effect is not None:
            effect.remove()

    def _of(self, table: str) -> TableRows:
        self.changes += 1
        found = self._tables.get(table)
        if found is None:
            raise ProjectionFailed(f"no table `{table}` is declared; there are {', '.join(self._tables)}")
        return found

    def writes(self) -> Iterator[Write]:
        """Statements in order.  Raises `EventFault` for a value that its column can't hold."""
        for name, rows in self._tables.items():
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
