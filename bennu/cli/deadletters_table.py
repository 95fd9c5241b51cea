"""`bennu.dead_letters` as operators ask for it; what they want is written there, and carried out by QServer."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from bennu.cli.options import setting
from bennu.errors import BadSettings, BennuError, Unavailable

if TYPE_CHECKING:
    import asyncpg

TIMEOUT_S = 10.0
PLACE = "APP/PROJECTION/GENERATION/PARTITION/SEQ"

_ID = "d.app, d.projection, d.generation, d.partition"
_MATCHES = """
($1 = '' OR d.app = $1) AND ($2 = '' OR d.projection = $2) AND ($3 < 0 OR d.generation = $3)
AND ($4 < 0 OR d.partition = $4) AND ($5 < 0 OR d.seq = $5) AND ($6 = '' OR d.key = $6)
"""
_SAME_KEY = "(d.app, d.projection, d.generation, d.partition, d.aggregate, d.key)"
_LIST = f"""
SELECT * FROM bennu.dead_letters d WHERE {_MATCHES} AND ($7 = 'all' OR d.state = $7)
ORDER BY {_ID}, d.seq LIMIT nullif($8::bigint, 0)
"""  # noqa: S608 - made of constants, as all below
_COUNT = f"SELECT count(*) FROM bennu.dead_letters d WHERE {_MATCHES} AND ($7 = 'all' OR d.state = $7)"  # noqa: S608
_PARKED_KEYS = f"""
SELECT DISTINCT ON ({_ID}, d.aggregate, d.key) * FROM bennu.dead_letters d
WHERE d.state = 'parked' AND {_SAME_KEY} IN (
    SELECT {_ID}, d.aggregate, d.key FROM bennu.dead_letters d WHERE d.state = 'parked' AND {_MATCHES}
) ORDER BY {_ID}, d.aggregate, d.key, d.seq
"""  # noqa: S608
_WISH = f"""
UPDATE bennu.dead_letters d SET wish = $6, wished_by = $7, wished_reason = $8
FROM unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::bigint[])
    AS w(app, projection, generation, partition, seq)
WHERE ({_ID}, d.seq) = (w.app, w.projection, w.generation, w.partition, w.seq) AND d.state = 'parked' AND d.wish IS NULL
RETURNING now()
"""  # noqa: S608
_OF_KEYS = """
unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::text[], $6::text[])
    AS w(app, projection, generation, partition, aggregate, key)
"""
_OPEN = f"""
SELECT EXISTS (
    SELECT FROM bennu.dead_letters d JOIN {_OF_KEYS} USING (app, projection, generation, partition, aggregate, key)
    WHERE d.state = 'parked' AND d.wish IS NOT NULL
)
"""  # noqa: S608
_BECAME = f"""
SELECT app, projection, generation, partition, aggregate, key,
    count(*) FILTER (WHERE d.state = 'parked') AS parked,
    count(*) FILTER (WHERE d.state = 'applied' AND d.ended_at >= $7) AS applied,
    count(*) FILTER (WHERE d.state = 'discarded' AND d.ended_at >= $7) AS discarded,
    min(d.seq) FILTER (WHERE d.state = 'parked') AS first_seq,
    (array_agg(d.problem ORDER BY d.seq) FILTER (WHERE d.state = 'parked'))[1] AS problem
FROM bennu.dead_letters d JOIN {_OF_KEYS} USING (app, projection, generation, partition, aggregate, key)
GROUP BY app, projection, generation, partition, aggregate, key
ORDER BY app, projection, generation, partition, aggregate, key
"""  # noqa: S608

Row = Mapping[str, Any]
"""By the names of the table's columns."""


class Refused(BennuError):
    """Postgres, or what is in the table, is at odds with what was asked for."""


class Wanted(NamedTuple):
    """Which letters; what is empty, or below zero, may be anything."""

    app: str = ""
    projection: str = ""
    generation: int = -1
    partition: int = -1
    seq: int = -1
    key: str = ""


class Wish(NamedTuple):
    """What is to become of letters."""

    what: str
    by: str
    reason: str


def place_of(row: Row) -> str:
    """The id of a letter, or of its partition if the row has no `seq`."""
    names = ("app", "projection", "generation", "partition", "seq")
    return "/".join(str(row[name]) for name in names if name in row)


class Letters:
    """The table, through one connection."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection

    async def find(self, wanted: Wanted, *, state: str, limit: int = 0) -> Sequence[Row]:
        """In order; `state` may be `all`; a limit of 0 is none."""
        return await self._rows(_LIST, *wanted, state, limit)

    async def count(self, wanted: Wanted, *, state: str) -> int:
        """How many there are."""
        return int(await self._connection.fetchval(_COUNT, *wanted, state))

    async def parked_keys(self, wanted: Wanted) -> Sequence[Row]:
        """The first parked letter of each key of which a parked one is wanted."""
        return await self._rows(_PARKED_KEYS, *wanted)

    async def wish(self, rows: Sequence[Row], wish: Wish) -> datetime:
        """Write it into these rows; when.  Raises `Refused` if there is one already."""
        ids = zip(*((r["app"], r["projection"], r["generation"], r["partition"], r["seq"]) for r in rows), strict=True)
        async with self._connection.transaction():
            written = await self._connection.fetch(_WISH, *ids, *wish)
            if missed := len(rows) - len(written):
                raise Refused(
                    f"{missed} of {len(rows)} are parked no more, or somebody's wish about them is still open; "
                    "nothing was changed: look at them with `bennu deadletters list`, and ask again"
                )
        began: datetime = written[0][0]
        return began

    async def is_open(self, rows: Sequence[Row]) -> bool:
        """Whether a wish about these rows' keys waits to be carried out."""
        return bool(await self._connection.fetchval(_OPEN, *_keys(rows)))

    async def became(self, rows: Sequence[Row], since: datetime) -> Sequence[Row]:
        """Of each key: how many are parked, applied and discarded since then; the first parked one and its problem."""
        return await self._rows(_BECAME, *_keys(rows), since)

    async def _rows(self, query: str, *values: object) -> Sequence[Row]:
        return [dict(row) for row in await self._connection.fetch(query, *values)]


def _keys(rows: Sequence[Row]) -> Sequence[Sequence[object]]:
    names = ("app", "projection", "generation", "partition", "aggregate", "key")
    return list(zip(*(tuple(row[name] for name in names) for row in rows), strict=True))


@asynccontextmanager
async def letters(config: str) -> AsyncIterator[Letters]:
    """Those in the database that BENNU_POSTGRES names, or the file.

    Raises `BadSettings`, `Unavailable` if Postgres is away, and `Refused` for whatever else it says.
    """
    import asyncpg
    from asyncpg import exceptions as pg

    from bennu.ops.postgres import AWAY, MISTAKEN, Opening, Servers, cancellation_first

    dsn = setting("postgres", config)
    if not dsn:
        raise BadSettings("postgres is missing: set BENNU_POSTGRES or BENNU_POSTGRES_FILE")
    opening = Opening(TIMEOUT_S, TIMEOUT_S, {"application_name": "bennu deadletters"})
    connection: asyncpg.Connection[asyncpg.Record] | None = None
    try:
        connection = await Servers(dsn).connect_anyhow(opening)
        with cancellation_first():
            yield Letters(connection)
    except MISTAKEN as error:
        raise BadSettings(f"postgres: {error}") from error
    except pg.UndefinedTableError as error:
        raise Refused("no QServer of this version has made its tables in this database") from error
    except AWAY as error:
        raise Unavailable(f"Postgres is away: {type(error).__name__}: {error}") from error
    except pg.PostgresError as error:
        raise Refused(f"Postgres refused: {error}") from error
    finally:
        if connection is not None:
            connection.terminate()
