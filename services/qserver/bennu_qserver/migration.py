"""Brings Bennu's own tables to this version, by Alembic, under the lock of `schema`.

A module of its own, imported when there is something to do: Alembic and SQLAlchemy take longer to import than all else.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from bennu.errors import BadSettings
from bennu.ops.postgres import SCHEMA_LOCK, Servers, cancellation_first
from bennu.ops.postgres import Connection as Session
from bennu_qserver.database import opening
from bennu_qserver.schema import VERSION_TABLE


async def migrate(dsn: str) -> None:
    """Bring Bennu's own tables, in schema `bennu`, to this package's version.  Raises what asyncpg raises."""

    async def connect() -> Session:
        return await Servers(dsn).connect(opening("migration"))

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        with cancellation_first():
            await _upgraded(engine)
    finally:
        await engine.dispose()


async def _upgraded(engine: AsyncEngine) -> None:
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade)
    except DBAPIError as error:
        adapted = error.orig
        if adapted is None or adapted.__cause__ is None:
            raise
        raise adapted.__cause__ from error


def _upgrade(connection: Connection) -> None:
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
