"""The role `bennu_reader` of those who query: it may read an app's views, and how fresh they are; nothing else."""

import structlog
from asyncpg import exceptions as pg

from bennu.ops.postgres import SCHEMA_LOCK
from bennu_qserver.database import Connection, savepoint
from bennu_qserver.tables import quoted

logger = structlog.get_logger()

ROLE = "bennu_reader"
CREATE = (
    f"CREATE ROLE {ROLE} NOLOGIN",
    f"ALTER ROLE {ROLE} SET default_transaction_read_only = on",
    f"ALTER ROLE {ROLE} SET statement_timeout = '30s'",
    f"ALTER ROLE {ROLE} SET idle_in_transaction_session_timeout = '60s'",  # it would keep the views from being switched
)
SHOWN = ("positions", "generations", "freshness")
"""Of Bennu's own tables.  Not dead letters: they have events, with all that is in them."""

_THERE = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)"
_MAY_CREATE = "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
_MISSING = """
SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (n.nspname = $1 AND c.relkind = 'v' OR n.nspname = 'bennu' AND c.relname = ANY ($2::text[]) AND c.relkind = 'r')
  AND pg_has_role(c.relowner, 'USAGE') AND NOT has_table_privilege($3, c.oid, 'SELECT')
ORDER BY 1
"""
_OWN_SCHEMAS = """
SELECT nspname FROM pg_namespace
WHERE nspname IN ($1, 'bennu') AND pg_has_role(nspowner, 'USAGE') AND NOT has_schema_privilege($2, oid, 'USAGE')
"""


async def grant(connection: Connection, *, app: str) -> None:
    """Make the role, if this user may and it is not there, and grant it what is missing."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", SCHEMA_LOCK)
    if not await connection.fetchval(_THERE, ROLE) and not await created(connection):
        statements = "; ".join(CREATE)
        logger.warning("nobody can read as bennu_reader", reason="this user may not create it", statements=statements)
        return
    for row in await connection.fetch(_OWN_SCHEMAS, app, ROLE):
        await connection.execute(f"GRANT USAGE ON SCHEMA {quoted(row['nspname'])} TO {ROLE}")
    for row in await connection.fetch(_MISSING, app, SHOWN, ROLE):
        await connection.execute(f"GRANT SELECT ON {row['name']} TO {ROLE}")


async def created(connection: Connection) -> bool:
    """Whether this user may create the role; then it is there."""
    if not await connection.fetchval(_MAY_CREATE):
        return False
    try:
        async with savepoint(connection):
            for statement in CREATE:
                await connection.execute(statement)
    except (pg.DuplicateObjectError, pg.UniqueViolationError):
        logger.info("another database of this server has just made the role", role=ROLE)
    return True
