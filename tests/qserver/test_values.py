"""What a column can't hold is found before Postgres is asked."""

import asyncio
import json

import pytest

from bennu.domain import BIGINT, BOOLEAN, JSONB, TEXT, TIMESTAMP, Column
from bennu.domain.projection import Value
from bennu_qserver.values import array_text, first_fault, mended, mended_text
from tests.qserver.serving import connected

LATEST_US = 253_402_300_799_999_999
EARLIEST_US = -62_135_596_800_000_000

GOOD: dict[str, tuple[Value, ...]] = {
    TEXT: ("", "Zoë 😀", "\x01"),
    BIGINT: (0, -(2**63), 2**63 - 1),
    TIMESTAMP: (0, EARLIEST_US, LATEST_US),
    BOOLEAN: (True, False),
    JSONB: ("null", r'"\\u0000"'),
}
BAD: list[tuple[str, Value, str]] = [
    (TEXT, "a\0b", "a text with a zero byte"),
    (TEXT, "\ud800", "no valid Unicode"),
    (TEXT, 1, "a int in a column of type text"),
    (TEXT, None, "NULL, and the column is not nullable"),
    (BIGINT, 2**63, "out of range"),
    (BIGINT, -(2**63) - 1, "out of range"),
    (BIGINT, True, "a bool in a column of type bigint"),
    (BIGINT, "1", "a str in a column of type bigint"),
    (TIMESTAMP, LATEST_US + 1, "out of range"),
    (TIMESTAMP, EARLIEST_US - 1, "out of range"),
    (JSONB, r'"\u0000"', "a text with a zero byte"),
    (JSONB, 1, "a int in a column of type jsonb"),
    (BOOLEAN, 1, "a int in a column of type boolean"),
]


@pytest.mark.parametrize("nullable", [False, True])
@pytest.mark.parametrize(("kind", "values"), GOOD.items())
def test_good_values_have_no_fault(kind: str, values: tuple[Value, ...], nullable: bool) -> None:
    """All that a type can hold passes, with NULL only where the column allows it."""
    column = Column("c", kind, nullable=nullable)
    assert first_fault(column, values) is None
    assert (first_fault(column, (*values, None)) is None) is nullable


@pytest.mark.parametrize(("kind", "value", "reason"), BAD)
def test_the_first_bad_value_is_found(kind: str, value: Value, reason: str) -> None:
    """A value that the column can't hold is found among good ones, and said by its place and fault."""
    values = [*GOOD[kind], value, *GOOD[kind]]
    fault = first_fault(Column("c", kind), values)
    assert fault is not None
    assert fault[0] == len(GOOD[kind])
    assert reason in fault[1]


def test_zero_bytes_are_replaced() -> None:
    """A text with zero bytes is good once they are replaced; whatever else a column is given stays as it is."""
    column = Column("c", TEXT, nullable=True)
    better = mended(column, ["\0", "a\0b\0", "good", None])
    assert better == ["\ufffd", "a\ufffdb\ufffd", "good", None]
    assert first_fault(column, better) is None
    assert mended(Column("c", BIGINT), [1, "\0"]) == [1, "\0"]


@pytest.mark.parametrize("text", ["", "\0", "\\\0", "\\u0000", "\0\0\\\\\0", "\\\\u0000"])
def test_zero_bytes_in_json_are_replaced(text: str) -> None:
    """What a mended JSON says is what it said, mended; six characters that only look like a zero byte stay."""
    column = Column("c", JSONB)
    (better,) = mended(column, [json.dumps({text: text})])
    assert first_fault(column, [better]) is None
    assert json.loads(str(better)) == {mended_text(text): mended_text(text)}


def test_surrogates_in_two_halves_are_no_text() -> None:
    """Two texts, each with half a character, are two faults and not one good text."""
    fault = first_fault(Column("c", TEXT), ["good", "\ud83d", "\ude00"])
    assert fault is not None
    assert fault[0] == 1


TEXTS = [
    "",
    "plain",
    'quoted "twice"',
    "back\\slash",
    "\\",
    '"',
    "{a,b}",
    "NULL",
    "null",
    " space ",
    "line\nbreak\t",
    "Zoë 😀",
    ",",
]


async def read_back(dsn: str) -> None:
    """Sent as QServer sends them, and read as an array."""
    async with connected(dsn) as connection:
        arrays: dict[str, list[Value]] = {
            "text": [*TEXTS],
            "text ": [None, *TEXTS, None],
            "bigint": [0, -1, 2**63 - 1, -(2**63)],
            "bigint ": [None, 7],
            "boolean": [True, False, None],
            "jsonb": ['{"a": "b\\\\\\"c"}', "null", '["x, y"]'],
        }
        for kind, values in arrays.items():
            assert await connection.fetchval(f"SELECT $1::text::{kind}[]", array_text(values)) == values, kind


@pytest.mark.real
def test_arrays_are_written_as_postgres_reads_them(database: str) -> None:
    """Quotes, backslashes, braces, the word NULL and no value at all come through as they are."""
    asyncio.run(read_back(database))
