"""Plain SQL of a generation, and its calls: each is written for itself, and checked for whose rows it changed."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bennu.domain import TEXT, Column
from bennu.domain.plain_sql import PlainSql, shortened
from bennu.domain.projection import Value
from bennu_qserver.errors import ProjectionFailed
from bennu_qserver.owners import Owner, Turn
from bennu_qserver.tables import StoredTable, quoted
from bennu_qserver.values import first_fault, mended_text

_KINDS = (str, int, bool, type(None))


class Owned(NamedTuple):
    """To whom the rows that a statement changes must belong."""

    column: str
    owner: Value
    """None: of anybody."""

    def fault(self, found: Sequence[Value]) -> str:
        """What is wrong with these owners of changed rows; empty: nothing."""
        others = [owner for owner in found if owner != self.owner] if self.owner is not None else []
        if not others:
            return ""
        return (
            f"it changes a row whose `{self.column}` is {others[0]!r}, and the event's is {self.owner!r}: "
            "rows of another aggregate or partition are not this event's to change"
        )


class PlainCall(NamedTuple):
    """A statement, ready to be called."""

    plain: PlainSql
    table: str
    sql: str
    """For this generation; it returns the owner of each row that it changed."""
    owner: Owner

    @property
    def shortened(self) -> str:
        """As messages name it."""
        return shortened(self.plain.text)

    def owned(self, turn: Turn) -> Owned:
        """Whose rows it may change, called by this event."""
        return Owned(self.owner.column, self.owner.mine(turn))

    def bound(self, values: Sequence[Value]) -> tuple[list[Value], int]:
        """The values as Postgres can hold them, and how many were mended.  Raises `ProjectionFailed`."""
        if len(values) != self.plain.values:
            raise ProjectionFailed(f"statement `{self.shortened}` takes {self.plain.values} values, not {len(values)}")
        better: list[Value] = [mended_text(value) if isinstance(value, str) else value for value in values]
        for number, value in enumerate(better, 1):
            fault = f"a {type(value).__name__}" if type(value) not in _KINDS else ""
            if isinstance(value, str) and (found := first_fault(Column("", TEXT), [value])):
                _, fault = found
            if fault:
                raise ProjectionFailed(f"statement `{self.shortened}`: ${number} is {fault}")
        return better, sum(one != other for one, other in zip(values, better, strict=True))


def plain_calls(statements: Mapping[str, PlainSql], tables: Mapping[str, StoredTable]) -> dict[str, PlainCall]:
    """The statements for these tables, by their text."""
    return {text: _call(plain, tables) for text, plain in statements.items()}


def _call(plain: PlainSql, tables: Mapping[str, StoredTable]) -> PlainCall:
    owner = Owner(tables[plain.target])
    sql = f"{plain.sql(lambda name: tables[name].sql)} RETURNING {quoted(plain.called)}.{quoted(owner.column)} AS owner"
    return PlainCall(plain, plain.target, sql, owner)
