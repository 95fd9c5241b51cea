"""`bennu.reconciled`: how far QServer's own comparison has come, and what it has found."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from bennu_qserver.database import Connection

_READ = """
SELECT generation, part, parts, rows, differences, first_differences, not_compared, whole_differences,
    extract(epoch FROM now() - whole_at)::float8 AS whole_age_s
FROM bennu.reconciled WHERE app = $1 AND projection = $2
"""
_ALL = "SELECT r.* FROM bennu.reconciled r WHERE app = $1 ORDER BY projection"
_WRITE = """
INSERT INTO bennu.reconciled AS r (
    app, projection, generation, part, parts, rows, differences, first_differences, not_compared, began_at, looked_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::jsonb, $9::text::jsonb, now(), now())
ON CONFLICT (app, projection) DO UPDATE SET
    generation = excluded.generation, part = excluded.part, parts = excluded.parts, rows = excluded.rows,
    differences = excluded.differences, first_differences = excluded.first_differences, looked_at = now(),
    not_compared = excluded.not_compared, began_at = CASE WHEN $10 THEN now() ELSE r.began_at END,
    whole_at = CASE WHEN r.generation = excluded.generation THEN r.whole_at END,
    whole_rows = CASE WHEN r.generation = excluded.generation THEN r.whole_rows END,
    whole_differences = CASE WHEN r.generation = excluded.generation THEN r.whole_differences END,
    whole_first = CASE WHEN r.generation = excluded.generation THEN r.whole_first END,
    problem = NULL
"""
_WHOLE = """
UPDATE bennu.reconciled SET
    whole_at = now(), whole_rows = rows, whole_differences = differences, whole_first = first_differences
WHERE app = $1 AND projection = $2
"""
_PROBLEM = """
INSERT INTO bennu.reconciled AS r (
    app, projection, generation, part, parts, rows, differences, first_differences, not_compared, began_at, looked_at,
    problem
) VALUES ($1, $2, 0, 0, 1, 0, 0, '[]', '[]', now(), now(), $3)
ON CONFLICT (app, projection) DO UPDATE SET looked_at = now(), problem = excluded.problem
"""


Place = tuple[str, str]
"""App and projection."""


class Pass(NamedTuple):
    """A pass over all rows, as far as it has come."""

    generation: int
    part: int
    """The next one; as many as there are: it has ended."""
    parts: int
    rows: int = 0
    differences: int = 0
    first: Sequence[str] = ()
    not_compared: Sequence[str] = ()
    """Tables of which nobody can say what they must hold, and why."""
    whole_differences: int = 0
    """What the last pass that has ended found."""
    whole_age_s: float | None = None
    """Since then; None: none has."""


async def read(connection: Connection, place: Place) -> Pass | None:
    """The newest one."""
    row = await connection.fetchrow(_READ, *place)
    if row is None:
        return None
    first, not_compared = json.loads(row["first_differences"]), json.loads(row["not_compared"])
    counts = (row["generation"], row["part"], row["parts"], row["rows"], row["differences"])
    return Pass(*counts, first, not_compared, row["whole_differences"] or 0, row["whole_age_s"])


async def write(connection: Connection, place: Place, done: Pass) -> None:
    """It has come so far."""
    counts = (done.generation, done.part, done.parts, done.rows, done.differences)
    lists = (json.dumps(list(done.first)), json.dumps(list(done.not_compared)))
    await connection.execute(_WRITE, *place, *counts, *lists, done.part <= 1)
    if done.part == done.parts:
        await connection.execute(_WHOLE, *place)


async def tell(connection: Connection, place: Place, problem: str) -> None:
    """Nothing can be compared, and why."""
    await connection.execute(_PROBLEM, *place, problem)


async def shown(connection: Connection, app: str) -> list[Mapping[str, object]]:
    """Of all projections, as plain data."""
    return [_plain(dict(row)) for row in await connection.fetch(_ALL, app)]


def _plain(row: dict[str, object]) -> dict[str, object]:
    for name in ("first_differences", "whole_first", "not_compared"):
        row[name] = json.loads(str(row[name])) if row[name] else []
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


def found(row: Mapping[str, object]) -> int:
    """How many differences the last look at each part of the rows has found."""
    return max(int(str(row["differences"])), int(str(row["whole_differences"] or 0)))


def is_whole(row: Mapping[str, object]) -> bool:
    """Whether all rows of all tables have been compared."""
    return bool(row["whole_at"]) and not row["not_compared"] and not row["problem"]


def words(row: Mapping[str, object]) -> str:
    """For people."""
    whole = f"all {row['whole_rows']} at {row['whole_at']}" if row["whole_at"] else "never all"
    first = row["first_differences"] or row["whole_first"]
    said = (
        f"{row['projection']}, generation {row['generation']}: {found(row)} differences; rows were compared: {whole}; "
        f"since {row['began_at']} {row['rows']}, in {row['part']} of {row['parts']} parts"
    )
    left_out = row["not_compared"]
    told = [*(first if isinstance(first, list) else ()), *([row["problem"]] if row["problem"] else ())]
    told += [f"not compared: {what}" for what in (left_out if isinstance(left_out, list) else ())]
    return "\n    ".join([said, *map(str, told)])
