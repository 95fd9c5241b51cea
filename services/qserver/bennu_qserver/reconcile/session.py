"""Postgres for a command: one connection, which gives up where QServer would wait for ever."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import asyncpg
from asyncpg import exceptions as pg

from bennu.errors import BadSettings, Unavailable
from bennu.ops.postgres import AWAY, MISTAKEN, Servers, cancellation_first
from bennu_qserver import schema
from bennu_qserver.database import Connection, opening, refusal
from bennu_qserver.reconcile.found import GONE, CannotCompare

T = TypeVar("T")
TRIES = 5


class Session:
    """One transaction after another."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """What `work` returns.  Raises `BadSettings`, `Unavailable`, `CannotCompare`.

        A generation that is dropped while it is read is looked for again: another one is live by then.
        """
        last = ""
        for _ in range(TRIES):
            try:
                with cancellation_first():
                    async with self._connection.transaction():
                        return await work(self._connection)
            except GONE as error:
                last = refusal(error)
            except MISTAKEN as error:
                raise BadSettings(f"postgres: {error}") from error
            except AWAY as error:
                raise Unavailable(f"Postgres: {type(error).__name__}: {error}") from error
            except pg.PostgresError as error:
                raise CannotCompare(refusal(error)) from error
        raise CannotCompare(f"the tables change while they are read: {last}")


@asynccontextmanager
async def session(dsn: str) -> AsyncIterator[Session]:
    """Raises as `Session.run` does, and `CannotCompare` where Bennu's own tables are another version's."""
    if not dsn:
        raise BadSettings("postgres is missing: set BENNU_POSTGRES or BENNU_POSTGRES_FILE")
    try:
        connection = await Servers(dsn).connect_anyhow(opening("reconcile"))
    except MISTAKEN as error:
        raise BadSettings(f"postgres: {error}") from error
    except AWAY as error:
        raise Unavailable(f"Postgres: {type(error).__name__}: {error}") from error
    try:
        opened = Session(connection)
        if not await opened.run(schema.is_migrated):
            raise CannotCompare("no QServer of this version has been at this database: start one first")
        yield opened
    finally:
        connection.terminate()
