"""Values that are the same in a table and in an event, though they are written otherwise."""

import json
from decimal import Decimal, InvalidOperation
from typing import TypeAlias

from bennu.domain import JSONB, TEXT, Column
from bennu.domain.projection import Value
from bennu_qserver.values import mended

Canonical: TypeAlias = object
"""Equal for values that a column can't tell apart."""


def is_same(column: Column, expected: Value, found: Value) -> bool:
    """Whether Postgres, which was given the one, would show the other."""
    if column.type in (TEXT, JSONB) and isinstance(expected, str):
        (expected,) = mended(column, (expected,))
    if column.type == JSONB:
        return expected == found or (
            None not in (expected, found) and canonical_json(expected) == canonical_json(found)
        )
    return type(expected) is type(found) and expected == found


def canonical_json(text: Value) -> Canonical:
    """What the text says: numbers by their value, members of objects in no order; hashable."""
    assert isinstance(text, str)
    try:
        return _frozen(json.loads(text, parse_int=_number, parse_float=_number))
    except (ValueError, RecursionError, InvalidOperation):  # no JSON, or more of it than Python takes
        return text


def _number(text: str) -> tuple[str, Decimal]:
    return "number", Decimal(text)  # a pair: else `true` would equal 1


def _frozen(said: object) -> Canonical:
    if isinstance(said, dict):
        return frozenset((name, _frozen(value)) for name, value in said.items())
    if isinstance(said, list):
        return "list", tuple(map(_frozen, said))
    return said if isinstance(said, tuple) else (type(said).__name__, said)
