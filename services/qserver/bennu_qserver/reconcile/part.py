"""A part of the rows, by a hash of their keys that Python and Postgres compute alike: so many fit into memory."""

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from bennu.domain import BIGINT, BOOLEAN, JSONB, TEXT, TIMESTAMP, Column
from bennu.domain.projection import Value
from bennu_qserver.errors import ProjectionFailed
from bennu_qserver.tables import StoredTable, quoted

_BYTES = 3
MOST_PARTS = 2 ** (8 * _BYTES)

MICROSECONDS = (
    "CASE WHEN {0} IS NULL THEN NULL "
    "WHEN isfinite({0}) THEN least(extract(epoch FROM {0}) * 1000000, 9223372036854775807)::bigint "
    "WHEN {0} > 'epoch' THEN 9223372036854775807 ELSE (-9223372036854775808) END"
)
"""A time as rules give it; one that no rule can have given is one of the ends."""


class Part(NamedTuple):
    """The rows whose keys' hash, modulo `parts`, is `number`."""

    number: int = 0
    parts: int = 1

    def halves(self) -> list["Part"]:
        """The same rows, in two parts.  Raises `ProjectionFailed` where hashes are too short for it."""
        if self.parts * 2 > MOST_PARTS:
            raise ProjectionFailed(f"more rows than fit into memory in {self.parts} parts: allow more at once")
        return [Part(self.number + self.parts, self.parts * 2), Part(self.number, self.parts * 2)]

    def has(self, columns: Sequence[Column], key: Sequence[Value]) -> bool:
        """Whether a row of this key is one of them."""
        if self.parts == 1:
            return True
        text = ",".join([_text(column, value) for column, value in zip(columns, key, strict=True)])
        digest = sha256(text.encode("utf-8", "replace")).digest()
        return int.from_bytes(digest[:_BYTES], "big") % self.parts == self.number

    def condition(self, table: StoredTable) -> str:
        """The same in SQL."""
        if self.parts == 1:
            return "true"
        text = " || ',' || ".join(_sql(table.columns[name]) for name in table.key)
        digest = f"encode(substring(sha256(convert_to({text}, 'UTF8')) FROM 1 FOR {_BYTES}), 'hex')"
        return f"('x' || {digest})::bit({8 * _BYTES})::int % {self.parts} = {self.number}"


def parts_for(rows: int, at_once: int) -> list[Part]:
    """All of them, the last one first, of about so many rows each."""
    parts = min(MOST_PARTS, max(1, -(-rows // at_once)))
    return [Part(number, parts) for number in reversed(range(parts))]


def _text(column: Column, value: Value) -> str:
    if column.type == JSONB:  # the same value has many texts
        return ""
    return str(value).lower() if column.type == BOOLEAN else str(value)


def _sql(column: Column) -> str:
    name = quoted(column.name)
    return {
        TEXT: name,
        BIGINT: f"{name}::text",
        BOOLEAN: f"{name}::text",
        TIMESTAMP: f"({MICROSECONDS.format(name)})::text",
        JSONB: "''",
    }[column.type]
