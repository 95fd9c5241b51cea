"""Brings Bennu's own tables to this version, by Alembic, under the lock of `schema`.

A module of its own, imported when there is something to do: Alembic and SQLAlchemy take longer to import than all else.
"""

from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from bennu.errors import BadSettings
from bennu.ops.postgres import SCHEMA_LOCK
from bennu_qserver.database import server_settings
from bennu_qserver.limits import COMMAND_TIMEOUT_S, CONNECT_TIMEOUT_S
from bennu_qserver.schema import VERSION_TABLE


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
