"""Makes the declared tables in Postgres, under an advisory lock, because several QServers may start at once."""

from collections.abc import Iterable, Sequence

from bennu.errors import BadSettings
from bennu.ops.postgres import SCHEMA_LOCK
from bennu_qserver import positions
from bennu_qserver.database import Connection
from bennu_qserver.dispatch import CompiledProjection
from bennu_qserver.tables import StoredTable, adorn_statements, create_statements, differences, quoted, view_statements

VERSION_TABLE = "qserver_version"
VERSION = "0002"
"""The last one in `migrations/versions`."""

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


async def is_migrated(connection: Connection) -> bool:
    """Whether Bennu's own tables are this version's, as they are at every start but the first."""
    version = f"bennu.{VERSION_TABLE}"
    if not await connection.fetchval(_EXISTS, version):
        return False
    return bool(await connection.fetchval(f"SELECT version_num FROM {version}") == VERSION)  # noqa: S608 - a constant


async def create_tables(connection: Connection, projections: Sequence[CompiledProjection]) -> None:
    """Make the tables that are missing.  Raises `BadSettings` for one that is not as declared."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", SCHEMA_LOCK)
    for projection in projections:
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(projection.app)}")
        filled = [table.name for table in projection.tables if await _has_rows(connection, table)]
        # Only now: another process may commit rows and position at any time, and rows that are seen have theirs.
        begun = await positions.begun(connection, projection.app, projection.name, generation=projection.generation)
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
