"""The pieces of a table that is kept by time: what Postgres calls its partitions, a day or a month (in UTC) each.

Whoever writes rows makes the pieces that they need, in the same transaction, so that no time is out of reach: neither
that of a clock that went wrong, nor those of old events that are read again.  `Upkeep` makes those of the present
before they are needed, and drops what is no longer kept.

A piece is made beside the table and then attached: unlike CREATE TABLE … PARTITION OF this makes no reader wait.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

from bennu.domain import DAY
from bennu.domain.projection import Value
from bennu_qserver.database import Connection
from bennu_qserver.tables import StoredTable, quoted

Need = tuple[StoredTable, frozenset[int]]
"""Days, counted from 1970, whose rows a table is to take."""

DAY_US = 86_400_000_000
PIECES_LOCK = 4_820_114_077
"""Of `pg_advisory_xact_lock`: two that want the same piece make it one after the other."""

_EPOCH = date(1970, 1, 1).toordinal()
_END_OF_TIME = "10000-01-01"

# Those that are not there, and are kept: a row that is not kept is left out by the same rule, see `statements`.
_MISSING = """
SELECT w.name FROM unnest($2::text[], $3::text[]) AS w(name, until)
WHERE ($4::int = 0 OR w.until::timestamptz > now() - $4::int * interval '24 hours')
AND NOT EXISTS (
    SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = to_regclass($1) AND c.relname = w.name
)
ORDER BY 1
"""
_FOUND = """
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass($1) ORDER BY 1
"""


class Piece(NamedTuple):
    """A day or a month of a table."""

    name: str
    since: str
    until: str
    """Times as Postgres reads them; `until` is the first that is not in it."""


def piece_of(table: StoredTable, day: int) -> Piece:
    """The one that holds this day, counted from 1970."""
    assert table.declared.by_time is not None, "asked for those that are"
    first, by_day = date.fromordinal(_EPOCH + day), table.declared.by_time.every == DAY
    if not by_day:
        first = first.replace(day=1)
    try:
        after = (first + timedelta(days=1) if by_day else (first + timedelta(days=31)).replace(day=1)).isoformat()
    except OverflowError:
        after = _END_OF_TIME
    since = first.isoformat()
    suffix = since.replace("-", "") if by_day else since.replace("-", "")[:-2]
    return Piece(f"{table.name}_{suffix}", f"{since} 00:00:00+00", f"{after} 00:00:00+00")


def needed(table: StoredTable, columns: Sequence[str], arrays: Sequence[Sequence[Value]]) -> Need | None:
    """What the table must have for rows of these values, which fit; None for one that is not kept by time."""
    if table.declared.by_time is None:
        return None
    times_us = arrays[columns.index(table.declared.by_time.column)]
    return table, frozenset({time_us // DAY_US for time_us in times_us if isinstance(time_us, int)})


async def make(connection: Connection, table: StoredTable, days: Iterable[int]) -> list[str]:
    """Make what rows of these days need and is not there; it stays to the end of this transaction.  Their names."""
    pieces = {piece.name: piece for piece in (piece_of(table, day) for day in days)}
    # Nobody drops a piece between the look and the rows.
    await connection.execute(f"LOCK TABLE ONLY {table.sql} IN ROW EXCLUSIVE MODE")
    if not await _missing(connection, table, pieces.values()):
        return []
    await connection.execute("SELECT pg_advisory_xact_lock($1)", PIECES_LOCK)
    missing = await _missing(connection, table, pieces.values())
    for name in missing:
        for statement in _making(table, pieces[name]):
            await connection.execute(statement)
    return missing


async def _missing(connection: Connection, table: StoredTable, pieces: Iterable[Piece]) -> list[str]:
    names, _, untils = zip(*pieces, strict=True)
    keep_days = table.declared.by_time.keep_days if table.declared.by_time else 0
    rows = await connection.fetch(_MISSING, table.sql, names, untils, keep_days)
    return [row["name"] for row in rows]


def _making(table: StoredTable, piece: Piece) -> Iterator[str]:
    name = f"{quoted(table.schema)}.{quoted(piece.name)}"
    yield f"CREATE TABLE {name} (LIKE {table.sql} INCLUDING ALL EXCLUDING INDEXES EXCLUDING COMMENTS)"
    yield f"ALTER TABLE {table.sql} ATTACH PARTITION {name} FOR VALUES FROM ('{piece.since}') TO ('{piece.until}')"


async def ahead(connection: Connection, table: StoredTable) -> list[str]:
    """Make the pieces of this time and the next; their names."""
    now: datetime = await connection.fetchval("SELECT now() AT TIME ZONE 'UTC'")
    today = now.date().toordinal() - _EPOCH
    after = date.fromisoformat(piece_of(table, today).until.split(" ")[0]).toordinal() - _EPOCH
    return await make(connection, table, (today, after))


async def drop_oldest(connection: Connection, table: StoredTable) -> list[str]:
    """Drop the oldest piece that is no longer kept, if there is one; its name.  Waits for who reads the table."""
    dropped = (await _expired(connection, table))[:1]
    for name in dropped:
        await connection.execute(f"DROP TABLE {quoted(table.schema)}.{quoted(name)}")
    return dropped


async def _expired(connection: Connection, table: StoredTable) -> list[str]:
    by_time = table.declared.by_time
    if by_time is None or not by_time.keep_days:
        return []
    until: datetime = await connection.fetchval(
        "SELECT (now() - $1::int * interval '24 hours') AT TIME ZONE 'UTC'", by_time.keep_days
    )
    kept = piece_of(table, until.date().toordinal() - _EPOCH).name  # of names of one length the older is less
    found = [row["relname"] for row in await connection.fetch(_FOUND, table.sql)]
    return [name for name in found if len(name) == len(kept) and name.startswith(f"{table.name}_") and name < kept]
