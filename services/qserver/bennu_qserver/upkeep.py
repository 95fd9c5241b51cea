"""Keeps up the tables that are kept by time: makes pieces before they are needed, and drops what is no longer kept.

Nothing depends on it but time and room: whoever writes makes what is missing, and leaves out what is not kept.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import NamedTuple

import structlog
from asyncpg import exceptions as pg

from bennu.errors import Final
from bennu_qserver import generations, pieces
from bennu_qserver.database import Connection, Database, limit_locks
from bennu_qserver.dispatch import CompiledProjection
from bennu_qserver.errors import NotYet
from bennu_qserver.generations import Generation, Key
from bennu_qserver.limits import UPKEEP_S
from bennu_qserver.tables import StoredTable

logger = structlog.get_logger()


class Kept(NamedTuple):
    """A table that is kept by time."""

    key: Key
    table: StoredTable

    def __str__(self) -> str:
        return f"{self.table.schema}.{self.table.name}"


class Upkeep:
    """Of the generations that are this process's to keep up."""

    def __init__(self, database: Database, compiled: Callable[[Key], CompiledProjection | None]) -> None:
        self._database = database
        self._compiled = compiled
        self._task: asyncio.Task[None] | None = None
        self._not_before_s = 0.0

    def tend(self, leads: Sequence[Generation], group: asyncio.TaskGroup) -> None:
        """Begin with it, if it is time."""
        if (self._task is None or self._task.done()) and self._not_before_s <= time.monotonic():
            kept = list(self._by_time(leads))
            if kept:  # else it may be that none is prepared yet
                self._not_before_s = time.monotonic() + UPKEEP_S
                self._task = group.create_task(self._keep_up(kept), name="upkeep")

    def _by_time(self, leads: Sequence[Generation]) -> Iterator[Kept]:
        for generation in leads:
            compiled = self._compiled(generation.key)
            for table in compiled.tables if compiled is not None else ():
                if table.declared.by_time is not None:
                    yield Kept(generation.key, table)

    async def _keep_up(self, tables: Sequence[Kept]) -> None:
        for kept in tables:
            try:
                await keep_up(self._database, kept)
            except NotYet as reason:
                logger.info("kept up later", table=str(kept), reason=str(reason))
            except Final as problem:  # its rows find or make their pieces by themselves
                logger.error("not kept up", table=str(kept), problem=str(problem))


async def keep_up(database: Database, kept: Kept) -> None:
    """Make pieces ahead and drop old ones, in short transactions.  Raises `NotYet` where others hold the table."""

    async def ahead(connection: Connection) -> list[str]:
        return await _limited(connection, kept, pieces.ahead)

    async def drop_one(connection: Connection) -> list[str]:
        return await _limited(connection, kept, pieces.drop_oldest)

    if made := await database.run(ahead):
        logger.info("made ahead", table=str(kept), pieces=made)
    while dropped := await database.run(drop_one):
        logger.info("no longer kept", table=str(kept), pieces=dropped)


async def _limited(
    connection: Connection, kept: Kept, work: Callable[[Connection, StoredTable], Awaitable[list[str]]]
) -> list[str]:
    """What it did; nothing where the generation has gone.  Readers and loops never give way to it."""
    await limit_locks(connection)
    try:
        return await work(connection, kept.table) if await generations.is_kept(connection, kept.key) else []
    except (pg.LockNotAvailableError, pg.DeadlockDetectedError) as error:
        raise NotYet("others hold the table") from error
