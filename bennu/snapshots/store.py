"""Snapshots in Postgres: two tables in schema `bennu`, a snapshot written whole or not at all.

A connection is opened for each use, because uses are rare.  The tables are made with the first snapshot; they hold a
cache, so a version that needs others will make others.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import count
from typing import NamedTuple

from asyncpg import exceptions as pg

from bennu.errors import BadSettings, Final, Unavailable
from bennu.ops.postgres import AWAY, MISTAKEN, SCHEMA_LOCK, Connection, Opening, Servers, cancellation_first
from bennu.replica.slices import SLICE_BYTES
from bennu.snapshots.format import Draft, Header
from bennu.snapshots.limits import CHUNK_BYTES, CHUNKS_AHEAD, COMMAND_TIMEOUT_S, CONNECT_TIMEOUT_S, KEEP
from bennu.snapshots.pace import Turn, give_way
from bennu.snapshots.spool import Spool

_MAKE = """
CREATE SCHEMA IF NOT EXISTS bennu;
CREATE TABLE IF NOT EXISTS bennu.snapshots (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    header bytea NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS snapshots_by_topic ON bennu.snapshots (topic, id);
CREATE TABLE IF NOT EXISTS bennu.snapshot_chunks (
    snapshot bigint NOT NULL REFERENCES bennu.snapshots ON DELETE CASCADE,
    number int NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (snapshot, number)
);
ALTER TABLE bennu.snapshot_chunks ALTER COLUMN body SET STORAGE EXTERNAL;
COMMENT ON TABLE bennu.snapshots IS 'States of replicas at one position of their journal; may be deleted at any time';
"""  # EXTERNAL: compressing a chunk would cost Postgres more than writing it
_IS_MADE = "SELECT to_regclass('bennu.snapshot_chunks') IS NOT NULL"
_BEGIN = "INSERT INTO bennu.snapshots (topic, header) VALUES ($1, '') RETURNING id, taken_at"
_COMPLETE = "UPDATE bennu.snapshots SET header = $2 WHERE id = $1"
_ADD = "INSERT INTO bennu.snapshot_chunks (snapshot, number, body) VALUES ($1, $2, $3)"
_OLDEST = """
SELECT id FROM bennu.snapshots WHERE topic = $1 AND id NOT IN (
    SELECT id FROM bennu.snapshots WHERE topic = $1 ORDER BY id DESC LIMIT $2
) FOR UPDATE SKIP LOCKED
"""  # those that another process is about to forget are left to it
_NUMBERS = "SELECT number FROM bennu.snapshot_chunks WHERE snapshot = $1"
_FORGET_CHUNK = "DELETE FROM bennu.snapshot_chunks WHERE snapshot = $1 AND number = $2"
_FORGET = "DELETE FROM bennu.snapshots WHERE id = $1"
_FIND = "SELECT id, topic, header, taken_at FROM bennu.snapshots WHERE topic = $1 ORDER BY id DESC"
_FIND_ALL = "SELECT id, topic, header, taken_at FROM bennu.snapshots ORDER BY topic, id DESC"
_CHUNKS = "SELECT body FROM bennu.snapshot_chunks WHERE snapshot = $1 ORDER BY number"
_AGE = "SELECT extract(epoch FROM now() - max(taken_at))::float8 FROM bennu.snapshots WHERE topic = $1"


class StoreRefused(Final):
    """Postgres is there, and says something that no repetition helps, such as that a table is not as it was made."""


class Stored(NamedTuple):
    """A snapshot as it lies there; whether it can be used is another question."""

    number: int
    topic: str
    header: bytes
    taken_at: datetime


class Written(NamedTuple):
    """A snapshot that was just written."""

    number: int
    header: Header


class SnapshotStore:
    """The snapshots in one database.

    Every method raises `Unavailable` when Postgres is away, `BadSettings` when it refuses this user, and
    `StoreRefused` for whatever else it says.
    """

    def __init__(self, dsn: str, *, name: str) -> None:
        """`name`: of this process, as Postgres shows it.  Raises `BadSettings` for a URL that is none."""
        self._servers = Servers(dsn)
        settings = {"application_name": f"bennu snapshots {name}", "jit": "off"}
        self._opening = Opening(CONNECT_TIMEOUT_S, COMMAND_TIMEOUT_S, settings)

    async def find(self, topic: str = "") -> Sequence[Stored]:
        """Those of one topic, or all; the newest first."""
        async with self._connection() as connection:
            if not await connection.fetchval(_IS_MADE):
                return ()
            rows = await (connection.fetch(_FIND, topic) if topic else connection.fetch(_FIND_ALL))
            return [Stored(*row) for row in rows]

    async def chunks(self, snapshot: Stored) -> AsyncGenerator[bytes, None]:
        """Its chunks, in order; close it (`aclosing`) to stop.  None for one that was deleted since."""
        async with self._connection() as connection, _committed(connection, readonly=True):
            async for row in connection.cursor(_CHUNKS, snapshot.number, prefetch=CHUNKS_AHEAD):
                yield row["body"]

    async def age_s(self, topic: str) -> float | None:
        """How long ago the newest one of this topic was taken, by the clock of Postgres; None: there is none."""
        async with self._connection() as connection:
            if not await connection.fetchval(_IS_MADE):
                return None
            age_s: float | None = await connection.fetchval(_AGE, topic)
            return age_s

    async def write(self, draft: Draft | Spool, *, turn: Turn = give_way) -> Written:
        """Write it, in one transaction: whole, or not at all.  `turn` is awaited after each slice."""
        async with self._connection() as connection:
            await self._make(connection)
            async with _committed(connection):
                number, _ = await connection.fetchrow(_BEGIN, draft.topic) or (0, None)
                numbers = count()
                for chunk in draft.chunks():
                    if chunk is None:
                        await turn()
                    else:
                        await connection.execute(_ADD, number, next(numbers), chunk)
                header = draft.header()
                await connection.execute(_COMPLETE, number, header.encode())
        return Written(number, header)

    async def forget(self, topic: str, *, keep: int = KEEP, turn: Turn = give_way) -> None:
        """All but the newest `keep` of this topic.  `turn` is awaited for each slice that they had."""
        async with self._connection() as connection, _committed(connection):
            for (snapshot,) in await connection.fetch(_OLDEST, topic, keep):
                # One by one: after a checkpoint each page that a deletion touches goes whole to Postgres' log.
                for (number,) in await connection.fetch(_NUMBERS, snapshot):
                    await connection.execute(_FORGET_CHUNK, snapshot, number)
                    for _ in range(CHUNK_BYTES // SLICE_BYTES):
                        await turn()
                await connection.execute(_FORGET, snapshot)

    async def _make(self, connection: Connection) -> None:
        if not await connection.fetchval(_IS_MADE):
            async with _committed(connection):
                await connection.execute("SELECT pg_advisory_xact_lock($1)", SCHEMA_LOCK)
                await connection.execute(_MAKE)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        connection: Connection | None = None
        try:
            connection = await self._servers.connect_anyhow(self._opening)
            with cancellation_first():
                yield connection
        except MISTAKEN as error:
            raise BadSettings(f"postgres: {error}") from error
        except AWAY as error:
            raise Unavailable(f"Postgres is away: {type(error).__name__}: {error}") from error
        except pg.PostgresError as error:
            raise StoreRefused(f"Postgres refused: {error}") from error
        finally:
            if connection is not None:
                connection.terminate()  # what was not committed is rolled back; closing could hang


@asynccontextmanager
async def _committed(connection: Connection, *, readonly: bool = False) -> AsyncIterator[None]:
    """A transaction, unless the block fails: closing the connection ends it then, where a Postgres that has become
    silent would be asked, for as long as a statement may take, to roll back.
    """
    transaction = connection.transaction(readonly=readonly)
    await transaction.start()
    yield
    await transaction.commit()
