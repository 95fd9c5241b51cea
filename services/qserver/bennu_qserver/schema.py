"""Makes the declared tables in Postgres, under an advisory lock, because several QServers may start at once."""

import json
from collections.abc import Iterable, Iterator

from asyncpg import exceptions as pg

from bennu.errors import BadSettings
from bennu.ops.postgres import AWAY, SCHEMA_LOCK
from bennu_qserver import generations, positions
from bennu_qserver.database import Connection, refusal, savepoint
from bennu_qserver.dispatch import CompiledProjection, DeclaredProjection
from bennu_qserver.errors import GenerationGone, TablesDiffer
from bennu_qserver.generations import Key
from bennu_qserver.plain_calls import PlainCall
from bennu_qserver.tables import (
    StoredTable,
    adorn_statements,
    column_comment,
    create_statements,
    differences,
    literal,
    quoted,
    shown_columns,
    view_comment,
    view_statements,
)

VERSION_TABLE = "qserver_version"
VERSION = "0005"
"""The last one in `migrations/versions`."""

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
_IS_BY_TIME = "SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass($1)"
# The view's own is that of the column without a name.
_VIEW_COMMENTS = """
SELECT a.attname, d.description AS comment
FROM pg_class c CROSS JOIN LATERAL (
    SELECT attname, attnum FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
    UNION ALL SELECT '', 0
) AS a
LEFT JOIN pg_description d ON d.objoid = c.oid AND d.classoid = 'pg_class'::regclass AND d.objsubid = a.attnum
WHERE c.oid = to_regclass($1) AND c.relkind = 'v' AND pg_has_role(c.relowner, 'USAGE')
"""

# A driver would want values for the statement's parameters, and what a plan reads depends on values that are known.
_PLAN = """
DO $plan$ DECLARE plan json; BEGIN
    EXECUTE {} INTO plan;
    PERFORM set_config('bennu.plan', plan::text, true);
END $plan$
"""


async def is_migrated(connection: Connection) -> bool:
    """Whether Bennu's own tables are this version's, as they are at every start but the first."""
    version = f"bennu.{VERSION_TABLE}"
    if not await connection.fetchval(_EXISTS, version):
        return False
    return bool(await connection.fetchval(f"SELECT version_num FROM {version}") == VERSION)  # noqa: S608 - a constant


async def begin(connection: Connection, projection: DeclaredProjection) -> None:
    """Where nothing is known of it, its first generation is live; one of unknown declaration, if its tables differ."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", SCHEMA_LOCK)
    if not await generations.has_live(connection, projection.app, projection.name):
        first = projection.in_generation(1)
        declaration = projection.declaration if await _agrees(connection, first) else ""
        tables = [table.name for table in projection.tables]
        key = Key(first.app, first.name, first.generation)
        await generations.begin_first(connection, key, declaration=declaration, tables=tables)


async def create_tables(connection: Connection, projection: CompiledProjection, *, views: bool) -> None:
    """Make the tables of a generation that are missing, and those views.

    Raises `TablesDiffer` for a table that is not as declared, `GenerationGone` for a generation without tables.
    """
    key = Key(projection.app, projection.name, projection.generation)
    await connection.execute("SELECT pg_advisory_xact_lock($1)", SCHEMA_LOCK)
    if not await generations.is_kept(connection, key):
        raise GenerationGone(f"{key}: it has no tables any more")
    await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(projection.app)}")
    filled = [table.name for table in projection.tables if await _has_rows(connection, table)]
    # Only now: another process may commit rows and position at any time, and rows that are seen have theirs.
    begun = await _begun(connection, projection)
    for table in projection.tables:
        await _create_table(connection, table, begun=begun)
        if views and not await connection.fetchval(_EXISTS, table.view_sql):
            await _execute(connection, view_statements(table))
        elif views:
            await _comment_view(connection, table)
    for call in projection.calls.values():
        await _check_call(connection, call, projection)
    if filled and not begun:
        raise TablesDiffer(f"schema {projection.app}: {', '.join(filled)} has rows, but no position says of what")
    await generations.made(connection, key, [table.declared.name for table in projection.tables])


async def _check_call(connection: Connection, call: PlainCall, projection: CompiledProjection) -> None:
    """Raise `BadSettings` for plain SQL that Postgres does not understand, or that reads other tables."""
    where = f"projection `{projection.name}`, statement `{call.shortened}`"
    try:
        async with savepoint(connection):
            await connection.execute(_PLAN.format(literal(f"EXPLAIN (GENERIC_PLAN, VERBOSE, FORMAT JSON) {call.sql}")))
            plan = json.loads(await connection.fetchval("SELECT current_setting('bennu.plan')"))
    except pg.PostgresError as error:
        if isinstance(error, AWAY):
            raise
        raise BadSettings(f"{where}: {refusal(error)}") from error
    ours = {(table.schema, table.name) for table in projection.tables}
    others = sorted(".".join(found) for found in set(_relations(plan)) - ours)
    if others:
        raise BadSettings(
            f"{where}: it reads {', '.join(others)}; only tables of its projection are there in a rebuild"
        )


def _relations(plan: object) -> Iterator[tuple[str, str]]:
    """Schemas and names of the tables in a plan."""
    if isinstance(plan, list):
        for part in plan:
            yield from _relations(part)
    elif isinstance(plan, dict):
        if "Relation Name" in plan:
            yield str(plan["Schema"]), str(plan["Relation Name"])
        for part in plan.values():
            yield from _relations(part)


async def _agrees(connection: Connection, projection: CompiledProjection) -> bool:
    if not await _begun(connection, projection):
        return True
    found = [await _differences(connection, table) for table in projection.tables]
    return not any(found)


async def _begun(connection: Connection, projection: CompiledProjection) -> bool:
    return await positions.begun(connection, projection.app, projection.name, generation=projection.generation)


async def _has_rows(connection: Connection, table: StoredTable) -> bool:
    if not await connection.fetchval(_EXISTS, table.sql):
        return False
    return bool(await connection.fetchval(f"SELECT EXISTS (SELECT FROM {table.sql})"))  # noqa: S608 - checked names


async def _create_table(connection: Connection, table: StoredTable, *, begun: bool) -> None:
    if await connection.fetchval(_EXISTS, table.sql):
        if told := await _differences(connection, table):
            raise TablesDiffer(f"table {table.schema}.{table.name} is not as declared: {'; '.join(told)}")
    elif begun:
        raise TablesDiffer(f"table {table.schema}.{table.name} is not there, but its projection has begun")
    else:
        await _execute(connection, create_statements(table))
    await _execute(connection, adorn_statements(table))


async def _comment_view(connection: Connection, table: StoredTable) -> None:
    """Comments that have changed since the view was made; of columns that are there, if the view is ours."""
    found = {row["attname"]: row["comment"] or "" for row in await connection.fetch(_VIEW_COMMENTS, table.view_sql)}
    for shown in shown_columns(table):
        if found.get(shown.name, shown.comment) != shown.comment:
            await connection.execute(column_comment(table.view_sql, shown.name, shown.comment))
    if found.get("", table.declared.comment) != table.declared.comment:
        await connection.execute(view_comment(table))


async def _execute(connection: Connection, statements: Iterable[str]) -> None:
    for statement in statements:
        await connection.execute(statement)


async def differences_of(connection: Connection, table: StoredTable) -> list[str]:
    """How the table that is there differs from its declaration, in words; nothing if it does not."""
    if not await connection.fetchval(_EXISTS, table.sql):
        return ["it is not there"]
    return await _differences(connection, table)


async def _differences(connection: Connection, table: StoredTable) -> list[str]:
    found = {row["attname"]: (row["type"], row["nullable"]) for row in await connection.fetch(_COLUMNS, table.sql)}
    key = tuple(row["attname"] for row in await connection.fetch(_KEY, table.sql))
    told = differences(table, found, key=key)
    if bool(await connection.fetchval(_IS_BY_TIME, table.sql)) != (table.declared.by_time is not None):
        told.append(f"it is {'not ' if table.declared.by_time else ''}partitioned")
    return told
