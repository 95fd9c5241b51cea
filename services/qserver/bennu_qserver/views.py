"""The views that people read, and how they come to show another generation.

`CREATE OR REPLACE VIEW` keeps grants, owner and dependent views; it can add columns at the end and change nothing else
of them.  For other changes the view is dropped and made anew, with owner, options and grants as they were.
"""

from collections.abc import Sequence
from typing import NamedTuple

from asyncpg import exceptions as pg

from bennu_qserver.database import Connection
from bennu_qserver.errors import ProjectionFailed
from bennu_qserver.tables import StoredTable, quoted, shown_columns, view_statements

_COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute
WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_OWNED = """
SELECT quote_ident(pg_get_userbyid(relowner)) AS owner, pg_get_userbyid(relowner) = current_user AS ours, reloptions
FROM pg_class WHERE oid = to_regclass($1)
"""
_GRANTEE = "CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END"
_OPTION = "CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END"
_GRANTS = f"""
SELECT format('GRANT %s ON %s TO %s%s', a.privilege_type, $1::text, {_GRANTEE}, {_OPTION})
FROM pg_class AS c CROSS JOIN LATERAL aclexplode(c.relacl) AS a WHERE c.oid = to_regclass($1)
UNION ALL
SELECT format('GRANT %s (%I) ON %s TO %s%s', a.privilege_type, t.attname, $1::text, {_GRANTEE}, {_OPTION})
FROM pg_attribute AS t CROSS JOIN LATERAL aclexplode(t.attacl) AS a
WHERE t.attrelid = to_regclass($1) AND t.attname = ANY($2)
"""  # noqa: S608 - made of constants
_REVOKES = f"""
SELECT format('REVOKE ALL ON %s FROM %s', $1::text, {_GRANTEE})
FROM pg_class AS c CROSS JOIN LATERAL aclexplode(c.relacl) AS a
WHERE c.oid = to_regclass($1) AND a.grantee <> c.relowner
"""  # noqa: S608
_INSTEAD = "`bennu projections switch {name} --to {number} --replace-views` makes views anew, with their grants"


class Change(NamedTuple):
    """Of one projection: views of these tables, and none of those that are no longer declared."""

    name: str
    tables: Sequence[StoredTable]
    gone: Sequence[str]
    """Views, as SQL."""
    replace: bool
    """Whether views may be dropped and made anew."""


async def show(connection: Connection, change: Change) -> None:
    """Make the views show these tables.  Raises `ProjectionFailed`, saying what an operator can do."""
    faults = [fault for table in change.tables if (fault := await _fault(connection, table))]
    faults += [f"{view} is no longer declared" for view in change.gone]
    if faults and not change.replace:
        number = change.tables[0].generation if change.tables else 0
        raise ProjectionFailed(f"{'; '.join(faults)}: {_INSTEAD.format(name=change.name, number=number)}")
    try:
        for view in change.gone:
            await connection.execute(f"DROP VIEW IF EXISTS {view}")
        for table in sorted(change.tables, key=lambda table: table.name):
            await (_make_anew if await _fault(connection, table) else _replace)(connection, table)
    except pg.DependentObjectsStillExistError as error:
        raise ProjectionFailed(
            f"drop what depends on a view that must be made anew, and make it again afterwards: {error.detail}"
        ) from error


async def _fault(connection: Connection, table: StoredTable) -> str:
    """What of the view's columns can't be changed while it stands; empty if nothing."""
    found = [(row["attname"], row["type"]) for row in await connection.fetch(_COLUMNS, table.view_sql)]
    wanted = [(column.name, column.type) for column in shown_columns(table)]
    for number, (name, kind) in enumerate(found):
        if number >= len(wanted) or wanted[number] != (name, kind):
            instead = " ".join(wanted[number]) if number < len(wanted) else "nothing"
            return (
                f"column {number + 1} of view {table.schema}.{table.declared.name} is {name} {kind}, declared {instead}"
            )
    return ""


async def _replace(connection: Connection, table: StoredTable) -> None:
    kept = await connection.fetchrow(_OWNED, table.view_sql)
    for statement in view_statements(table, (kept["reloptions"] or ()) if kept else ()):
        await connection.execute(statement)


async def _make_anew(connection: Connection, table: StoredTable) -> None:
    view, columns = table.view_sql, [column.name for column in table.declared.columns]
    kept = await connection.fetchrow(_OWNED, view)
    grants = [row[0] for row in await connection.fetch(_GRANTS, view, columns)]
    assert kept is not None, "it has columns"
    await connection.execute(f"DROP VIEW {view}")
    for statement in view_statements(table, kept["reloptions"] or ()):
        await connection.execute(statement)
    for row in await connection.fetch(_REVOKES, view):  # what default privileges gave to the new one
        await connection.execute(row[0])
    for grant in grants:
        await connection.execute(grant)
    if not kept["ours"]:
        await connection.execute(f"ALTER VIEW {view} OWNER TO {kept['owner']}")


def view_of(schema: str, table: str) -> str:
    """As SQL."""
    return f"{quoted(schema)}.{quoted(table)}"
