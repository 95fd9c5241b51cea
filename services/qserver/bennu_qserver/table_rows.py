"""The changes of one table whose rows each belong to an aggregate or to a partition.

Nothing but its own events changes a row, so the changes of different owners may be written in any order; those of one
owner go to the next *stage* when they come behind a change of rows that are looked for (`update_where`), which must
have been written before.  So a transaction has as many stages as its busiest owner needs, mostly one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter

from bennu.domain import BIGINT, DAY, JSONB
from bennu.domain.projection import Value
from bennu_qserver.effects import Changes, Effect, Group, Key, Stage
from bennu_qserver.errors import NotOwner, ProjectionFailed
from bennu_qserver.owners import Owner, Turn
from bennu_qserver.statements import Kind, Shape
from bennu_qserver.tables import StoredTable
from bennu_qserver.values import mended_text


def getter(names: Sequence[str]) -> Callable[[Mapping[str, Value]], Key]:
    """Takes these values out of a mapping."""
    if len(names) > 1:
        return itemgetter(*names)
    (name,) = names
    return lambda values: (values[name],)


def mended_key(key: Key) -> Key:
    """Without zero bytes: mended before rows are merged, or two would become one."""
    for value in key:
        if isinstance(value, str) and "\0" in value:
            return tuple([mended_text(value) if isinstance(value, str) else value for value in key])
    return key


class TableRows:
    """See above."""

    def __init__(self, table: StoredTable, turn: Turn) -> None:
        self.table = table
        self._turn = turn
        self._stages = [Stage()]
        self._where: dict[Value, tuple[int, Shape | None]] = {}
        """Of owners that have looked for rows: their stage, and for what in it, if that was their last change."""
        self._said: dict[tuple[str, ...], Changes] = {}
        self._known_shapes: set[tuple[str, ...]] = set()
        self._values_of_key = getter(table.key)
        self._addable = {column.name for column in table.declared.columns if column.type == BIGINT}
        self._owner = Owner(table)
        self._owned = bool(self._owner.column)
        self._owner_column, self._owner_at = self._owner.column, self._owner.at

    # --- changes of rows by their keys

    def upsert(self, key: Mapping[str, Value], values: dict[str, Value]) -> None:
        """See `bennu.domain.Rows`."""
        self._creating(key, tuple(values)).set(values)
        self._say(values)

    def update(self, key: Mapping[str, Value], values: dict[str, Value]) -> None:
        """See `bennu.domain.Rows`."""
        self._check_pieces("update")
        effect = self._changing(key, tuple(values))
        if effect is not None:
            effect.set(values)
        self._say(values)

    def increment(self, key: Mapping[str, Value], amounts: dict[str, int]) -> None:
        """See `bennu.domain.Rows`."""
        if not self._addable.issuperset(amounts):
            self._check_addable(tuple(amounts))
        self._creating(key, tuple(amounts)).add(amounts)
        self._say(amounts)

    def delete(self, key: Mapping[str, Value]) -> None:
        """See `bennu.domain.Rows`."""
        self._check_pieces("delete")
        effect = self._changing(key, ())
        if effect is not None:
            effect.remove()

    def append(self, values: Mapping[str, Value]) -> None:
        """See `bennu.domain.Rows`."""
        columns = tuple(values)
        stage = self._append_stage(values) if self._where else self._stages[0]
        kept = stage.appended.get(columns)
        if kept is None:
            self._check_columns(columns, needed=self.table.key)
            kept = stage.appended[columns] = ([], [])
        if self._owned and values[self._owner_column] != self._turn.partition:  # spares most calls; it decides
            self._owner.check(values[self._owner_column], self._turn)
        if stage.layers[0] and (effect := stage.top(self._key(values))) is not None:
            self._append_over(effect, values, stage=stage)
            return
        kept[0].append(self._turn.seq)
        kept[1].append(tuple(values.values()))

    def _append_stage(self, values: Mapping[str, Value]) -> Stage:
        self._check_columns(tuple(values), needed=self.table.key)
        self._owner.check(values[self._owner.column], self._turn)
        return self._stage_of(values[self._owner.column])

    def _append_over(self, effect: Effect, values: Mapping[str, Value], *, stage: Stage) -> None:
        if effect.create:
            raise ProjectionFailed(f"table `{self.table.declared.name}`: appends a row that is there")
        if not effect.fresh:  # an update, which can only have found no row
            key = self._key(values)
            effect = stage.new(key, create=True, layer=stage.depth(key))
            effect.fresh = effect.appended = True
        effect.create, effect.seq = True, self._turn.seq
        effect.set({name: value for name, value in values.items() if name not in self.table.key})

    def _creating(self, key: Mapping[str, Value], names: tuple[str, ...]) -> Effect:
        """The effect of a row that will be there."""
        row = self._row(key, names)
        stage = self._stage_of(row[self._owner.at]) if self._where else self._stages[0]
        effect = stage.top(row)
        if effect is None:
            effect = stage.new(row, create=True, layer=0)
        elif not effect.create and not effect.fresh and effect.sets:
            effect = stage.new(row, create=True, layer=stage.depth(row))
        effect.create, effect.seq = True, self._turn.seq
        return effect

    def _changing(self, key: Mapping[str, Value], names: tuple[str, ...]) -> Effect | None:
        """The effect of a row that may be there; None if it certainly is not."""
        row = self._row(key, names)
        stage = self._stage_of(row[self._owner.at]) if self._where else self._stages[0]
        effect = stage.top(row) or stage.new(row, create=False, layer=0)
        effect.seq = self._turn.seq
        return None if effect.fresh and not effect.create else effect

    # --- changes of rows that are looked for

    def update_where(self, where: Mapping[str, Value], values: dict[str, Value]) -> None:
        """See `bennu.domain.Rows`."""
        self._check_columns(tuple(values), needed=())
        if values:
            self._look_for(Kind.UPDATE_WHERE, where, values)
            self._say(values)

    def delete_where(self, where: Mapping[str, Value]) -> None:
        """See `bennu.domain.Rows`."""
        self._look_for(Kind.DELETE_WHERE, where, {})

    def _look_for(self, kind: Kind, where: Mapping[str, Value], values: Mapping[str, Value]) -> None:
        self._check_pieces(kind.value)
        self._check_where(where)
        nulls = tuple(sorted(name for name, value in where.items() if value is None))
        names = tuple(sorted(where.keys() - nulls))
        sets = tuple(sorted(values))
        shape = Shape(kind, names, sets, nulls=nulls)
        looked_for = mended_key(tuple([where[name] for name in names]))
        stage = self._looking(looked_for[names.index(self._owner.column)], shape)
        stage.wheres.setdefault(shape, {})[looked_for] = (self._turn.seq, tuple([values[name] for name in sets]))

    def _looking(self, owner: Value, shape: Shape) -> Stage:
        """Where this owner's next search is written.

        Its searches of one shape go together if none of them changes what the others look for: they find rows apart.
        """
        number, last = self._where.get(owner, (0, None))
        if last is not None and (last != shape or not self._apart(shape)):
            number += 1
        self._where[owner] = number, shape
        return self._numbered(number)

    def _apart(self, shape: Shape) -> bool:
        """Whether different values always find different rows, also after one of them has changed its own."""
        looked_for = shape.key + shape.nulls
        # What is computed may follow from what is set, and two texts may say the same JSON.
        unsure = {name for name, column in self.table.columns.items() if column.formula or column.type == JSONB}
        return set(looked_for).isdisjoint({*shape.sets, *unsure})

    def _stage_of(self, owner: Value) -> Stage:
        """Where the next change of this owner's rows is written."""
        if isinstance(owner, str):
            owner = mended_text(owner)
        number, last = self._where.get(owner, (0, None))
        if last is not None:
            number += 1
            self._where[owner] = number, None
        return self._numbered(number)

    def _numbered(self, number: int) -> Stage:
        if number == len(self._stages):
            self._stages.append(Stage())
        return self._stages[number]

    # --- what is allowed

    def _row(self, key: Mapping[str, Value], names: tuple[str, ...]) -> Key:
        """The row of this key, which is one of the table's and the event's, as are `names` columns that can be set."""
        columns = (*key, "", *names)  # the empty name stands between key and values
        if columns not in self._known_shapes:
            self._check_key(key)
            self._check_columns(names, needed=())
            self._known_shapes.add(columns)
        row = self._key(key)
        if self._owned and row[self._owner_at] != self._turn.aggregate:  # spares most calls, as above
            self._owner.check(row[self._owner_at], self._turn)
        return row

    def _check_pieces(self, what: str) -> None:
        by_time = self.table.declared.by_time
        if by_time is not None and by_time.every == DAY:  # Postgres would lock hundreds of days, with their indexes
            raise ProjectionFailed(
                f"table `{self.table.declared.name}`: it is kept by day, and `{what}` looks for rows in all of them; "
                "append, upsert or increment, or keep it by month"
            )

    def _key(self, values: Mapping[str, Value]) -> Key:
        return mended_key(self._values_of_key(values))

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

    def _check_where(self, where: Mapping[str, Value]) -> None:
        table = self.table.declared.name
        for name, value in where.items():
            if name not in self.table.columns:
                raise ProjectionFailed(f"table `{table}` has no column `{name}`")
            if value is None and not self.table.columns[name].nullable and name not in self.table.computed:
                raise ProjectionFailed(f"table `{table}`: `{name}` is never NULL, so no row is found")
        if self._owner.column not in where:  # as it is if there is none
            raise NotOwner(
                f"table `{table}`: looks for rows by {', '.join(where) or 'nothing'}, which may belong to others; say "
                f"whose they are, by `{self._owner.column or 'an owner that the table declares'}`"
            )
        self._owner.check(where[self._owner.column], self._turn)

    def _check_addable(self, names: Sequence[str]) -> None:
        self._check_columns(names, needed=())
        for name in set(names) - self._addable:
            column = f"table `{self.table.declared.name}`, column `{name}`"
            raise ProjectionFailed(f"{column}: is of type {self.table.columns[name].type}, which can't be added to")

    # --- what is to be written

    def _say(self, values: Mapping[str, Value]) -> None:
        """Keep what may be merged away: an event whose value does not fit is at fault whatever comes after it."""
        if values:
            columns = tuple(values)
            kept = self._said.get(columns)
            if kept is None:
                kept = self._said[columns] = ([], [])
            kept[0].append(self._turn.seq)
            kept[1].append(tuple(values.values()))

    def said(self) -> Iterator[tuple[Sequence[str], Sequence[int], list[tuple[Value, ...]]]]:
        """Columns, numbers of events, and values of all changes but appended rows."""
        return ((columns, seqs, values) for columns, (seqs, values) in self._said.items())

    def groups(self) -> Iterator[Group]:
        """Changes of one shape each, in the order in which they must be written."""
        for stage in self._stages:
            yield from stage.groups(self.table)
