"""Makes what QServer needs in Postgres: Bennu's own tables by Alembic, and the declared ones.

Both happen under an advisory lock, because several QServers may start at once.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection as SqlConnection
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from bennu.errors import BadSettings
from bennu_qserver import positions
from bennu_qserver.database import Connection, server_settings
from bennu_qserver.dispatch import CompiledProjection
from bennu_qserver.limits import COMMAND_TIMEOUT_S, CONNECT_TIMEOUT_S
from bennu_qserver.tables import StoredTable, adorn_statements, create_statements, differences, quoted, view_statements

SCHEMA_LOCK = 0x62656E6E75  # "bennu"
VERSION_TABLE = "qserver_version"

REBUILD = (
    "It must be rebuilt from the journal: drop the app's schema and its rows in bennu.positions, both, and start again"
)

_EXISTS = "SELECT to_regclass($1) IS NOT NULL"
_COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod) AS type, NOT attnotnull AS nullable
FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
"""
_KEY = """
SELECT a.attname FROM pg_index i
CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(attnum, place)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = to_regclass($1) AND i.indisprimary ORDER BY k.place
"""


async def migrate(dsn: str) -> None:
    """Bring Bennu's own tables, in schema `bennu`, to this package's version.  Raises what asyncpg raises."""

    async def connect() -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(
            dsn,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
            server_settings=server_settings("migration"),
        )

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade)
    except DBAPIError as error:
        adapted = error.orig
        if adapted is None or adapted.__cause__ is None:
            raise
        raise adapted.__cause__ from error
    finally:
        await engine.dispose()


def _upgrade(connection: SqlConnection) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": SCHEMA_LOCK})
    connection.execute(text("CREATE SCHEMA IF NOT EXISTS bennu"))
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["version_table"] = VERSION_TABLE
    try:
        command.upgrade(config, "head")
    except CommandError as error:  # such as a revision that a newer version has made
        raise BadSettings(f"Bennu's own tables in schema bennu can't be brought to this version: {error}") from error


async def create_tables(connection: Connection, projections: Sequence[CompiledProjection]) -> None:
    """Make the tables that are missing.  Raises `BadSettings` for one that is not as declared."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", SCHEMA_LOCK)
    for projection in projections:
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(projection.app)}")
        filled = [table.name for table in projection.tables if await _has_rows(connection, table)]
        # Only now: another process may commit rows and position at any time, and rows that are seen have theirs.
        begun = await positions.begun(connection, projection.app, projection.name, projection.generation)
        for table in projection.tables:
            await _create_table(connection, table, begun=begun)
        if filled and not begun:
            raise BadSettings(
                f"schema {projection.app}: {', '.join(filled)} has rows, but no position says of what.  {REBUILD}"
            )


async def _has_rows(connection: Connection, table: StoredTable) -> bool:
    if not await connection.fetchval(_EXISTS, table.sql):
        return False
    return bool(await connection.fetchval(f"SELECT EXISTS (SELECT FROM {table.sql})"))  # noqa: S608 - checked names


async def _create_table(connection: Connection, table: StoredTable, *, begun: bool) -> None:
    if await connection.fetchval(_EXISTS, table.sql):
        await _check_table(connection, table)
    elif begun:
        raise BadSettings(f"table {table.schema}.{table.name} is not there, but its projection has begun.  {REBUILD}")
    else:
        await _execute(connection, create_statements(table))
    await _execute(connection, adorn_statements(table))
    if not await connection.fetchval(_EXISTS, table.view_sql):
        await _execute(connection, view_statements(table))


async def _execute(connection: Connection, statements: Iterable[str]) -> None:
    for statement in statements:
        await connection.execute(statement)


async def _check_table(connection: Connection, table: StoredTable) -> None:
    found = {row["attname"]: (row["type"], row["nullable"]) for row in await connection.fetch(_COLUMNS, table.sql)}
    key = tuple(row["attname"] for row in await connection.fetch(_KEY, table.sql))
    if told := differences(table, found, key=key):
        raise BadSettings(f"table {table.schema}.{table.name} is not as declared: {'; '.join(told)}.  {REBUILD}")
