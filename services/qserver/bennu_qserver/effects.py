"""What is to become of rows: changes merged per key, and the stages in which they are written."""

from collections.abc import Iterator, Mapping

from bennu.domain.projection import Value
from bennu_qserver.statements import Kind, Shape
from bennu_qserver.tables import StoredTable

Key = tuple[Value, ...]
Changes = tuple[list[int], list[tuple[Value, ...]]]
"""The numbers of events, and beside each the values of the same columns."""
Group = tuple[Shape, list[int], list[tuple[Value, ...]]]
"""Changes of one shape."""


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


class Stage:
    """Changes of a table that are written together: of rows by their keys, then of rows that are looked for.

    For each key at most one effect is kept: what the row will be, whatever it was.  Only a change that depends on
    whether the row was there (an `update`, then something that creates) can't be merged; it opens a second layer for
    its key, and layers are written one after another.
    """

    __slots__ = ("appended", "layers", "wheres")

    def __init__(self) -> None:
        self.appended: dict[tuple[str, ...], Changes] = {}
        self.layers: list[dict[Key, Effect]] = [{}]
        self.wheres: dict[Shape, dict[Key, tuple[int, tuple[Value, ...]]]] = {}
        """Of each shape by the values looked for: an event's number and the values set."""

    def top(self, key: Key) -> Effect | None:
        """The newest effect on a row."""
        if len(self.layers) == 1:  # nearly always
            return self.layers[0].get(key)
        for layer in reversed(self.layers):
            if (effect := layer.get(key)) is not None:
                return effect
        return None

    def depth(self, key: Key) -> int:
        """In how many layers a row is."""
        return sum(key in layer for layer in self.layers)

    def new(self, key: Key, *, create: bool, layer: int) -> Effect:
        """An effect on a row that this layer does not have."""
        if layer == len(self.layers):
            self.layers.append({})
        effect = self.layers[layer][key] = Effect(create=create)
        return effect

    def groups(self, table: StoredTable) -> Iterator[Group]:
        """In the order in which they must be written."""
        for columns, (seqs, values) in self.appended.items():
            if seqs:
                yield Shape(Kind.APPEND, columns), seqs, values
        for layer in self.layers:
            yield from _grouped(layer, table)
        for shape, by_values in self.wheres.items():
            yield shape, [seq for seq, _ in by_values.values()], [key + sets for key, (_, sets) in by_values.items()]


def _grouped(layer: Mapping[Key, Effect], table: StoredTable) -> Iterator[Group]:
    groups: dict[Shape, Changes] = {}
    alike: dict[tuple[object, ...], tuple[Shape, Changes]] = {}
    """The same groups, by what is cheaper to make and to hash than a shape."""
    for key, effect in layer.items():
        looks = (effect.fresh, effect.create, effect.appended, *effect.sets, "", *effect.adds)
        found = alike.get(looks)
        if found is None:
            shape = _shape(effect, table)
            found = alike[looks] = shape, groups.setdefault(shape, ([], []))
        shape, (seqs, rows) = found
        seqs.append(effect.seq)
        rows.append(key + _values(effect, shape, table))
    yield from ((shape, seqs, rows) for shape, (seqs, rows) in groups.items())


def _shape(effect: Effect, table: StoredTable) -> Shape:
    key = table.key
    if effect.gone:
        return Shape(Kind.DELETE, key)
    if effect.fresh:  # the old row's columns must not show through: name them all
        others = tuple(name for name in table.columns if name not in key and name not in table.computed)
        return Shape(Kind.APPEND if effect.appended else Kind.UPSERT, key, others)
    kind = Kind.UPSERT if effect.create else Kind.UPDATE
    return Shape(kind, key, tuple(sorted(effect.sets)), tuple(sorted(effect.adds)))


def _values(effect: Effect, shape: Shape, table: StoredTable) -> tuple[Value, ...]:
    sets, adds = effect.sets, effect.adds
    if effect.fresh:
        return tuple([sets[name] if name in sets else table.zero(name) for name in shape.sets])
    return (*[sets[name] for name in shape.sets], *[adds[name] for name in shape.adds])
