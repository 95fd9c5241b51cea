"""The changes of one shared table: sums, greatest and least values, which come out the same in whatever order.

All of a transaction are one statement, whose rows stand in the order of their keys: two partitions that write the same
rows at the same time then wait for one another, and never each for the other.
"""

from collections.abc import Iterator, Mapping, Sequence

from bennu.domain.projection import MAX, SUM, Value
from bennu_qserver.effects import Changes, Group, Key
from bennu_qserver.errors import ProjectionFailed
from bennu_qserver.owners import Turn
from bennu_qserver.statements import Kind, Shape
from bennu_qserver.table_rows import getter, mended_key
from bennu_qserver.tables import StoredTable
from bennu_qserver.values import mended_text


class SharedRows:
    """See above."""

    def __init__(self, table: StoredTable, turn: Turn) -> None:
        self.table = table
        self._turn = turn
        self._values_of_key = getter(table.key)
        self._merges = {name: column.merge for name, column in table.columns.items() if column.merge}
        self._rows: dict[Key, tuple[int, dict[str, Value]]] = {}
        self._said: dict[tuple[str, ...], Changes] = {}

    def upsert(self, key: Mapping[str, Value], values: dict[str, Value]) -> None:
        """See `bennu.domain.Rows`."""
        row = self._row(key, values, SUM, unlike=True)
        self._say(values)
        for name, said in values.items():
            # Mended before it is compared: else it would matter whether this is done here or in Postgres.
            value = mended_text(said) if isinstance(said, str) else said
            there = row.get(name)
            if value is not None and (there is None or self._wins(name, value, there)):
                row[name] = value

    def increment(self, key: Mapping[str, Value], amounts: dict[str, int]) -> None:
        """See `bennu.domain.Rows`."""
        row = self._row(key, amounts, SUM, unlike=False)
        self._say(amounts)
        for name, amount in amounts.items():
            row[name] = int(row.get(name) or 0) + amount

    def update(self, *_: object) -> None:
        """Refused: what a row holds depends on how far other partitions are."""
        self._refuse("update")

    def delete(self, *_: object) -> None:
        """Refused."""
        self._refuse("delete")

    def append(self, *_: object) -> None:
        """Refused."""
        self._refuse("append")

    def update_where(self, *_: object) -> None:
        """Refused."""
        self._refuse("update_where")

    def delete_where(self, *_: object) -> None:
        """Refused."""
        self._refuse("delete_where")

    def _refuse(self, change: str) -> None:
        raise ProjectionFailed(
            f"table `{self.table.declared.name}` is shared: {change} would depend on how far other partitions are; "
            "there are increment, and upsert"
        )

    def _row(
        self, key: Mapping[str, Value], names: Mapping[str, Value], merge: str, *, unlike: bool
    ) -> dict[str, Value]:
        table = self.table.declared.name
        if set(key) != set(self.table.key):
            raise ProjectionFailed(f"table `{table}` has the key ({', '.join(self.table.key)}), not ({', '.join(key)})")
        for name in names:
            found = self._merges.get(name)
            if found is None or (found == merge) == unlike:
                is_sum = "is a sum, which is incremented" if found == SUM else f"is a {found}, which is upserted"
                raise ProjectionFailed(
                    f"table `{table}`, column `{name}`: {is_sum if found else 'is none that is merged'}"
                )
        row = mended_key(self._values_of_key(key))
        _, values = self._rows.get(row) or (0, {})
        self._rows[row] = self._turn.seq, values
        return values

    def _wins(self, name: str, value: Value, there: Value) -> bool:
        greater: bool = value > there  # type: ignore[operator]  # of one type, else the rule is at fault, and hears so
        return greater == (self._merges[name] == MAX)

    def _say(self, values: Mapping[str, Value]) -> None:
        if values:
            kept = self._said.setdefault(tuple(values), ([], []))
            kept[0].append(self._turn.seq)
            kept[1].append(tuple(values.values()))

    def said(self) -> Iterator[tuple[Sequence[str], Sequence[int], list[tuple[Value, ...]]]]:
        """Columns, numbers of events, and values, to be checked before they are merged away."""
        return ((columns, seqs, values) for columns, (seqs, values) in self._said.items())

    def groups(self) -> Iterator[Group]:
        """One, if anything is changed."""
        if self._rows:
            shape = Shape(Kind.MERGE, self.table.key, tuple(self._merges))
            seqs, rows = [], []
            for key in sorted(self._rows, key=lambda key: tuple(map(str, key))):
                seq, values = self._rows[key]
                seqs.append(seq)
                rows.append(key + tuple([self._begun(name, values) for name in self._merges]))
            yield shape, seqs, rows

    def _begun(self, name: str, values: Mapping[str, Value]) -> Value:
        return values.get(name, 0 if self._merges[name] == SUM else None)
