"""Journals of sagas for QServer: the records of stories in which a real reactor decides, and what the tables show."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import asyncpg
from google.protobuf.message import Message

from bank.transfer import TransferSaga
from bennu.domain import App
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.log.port import Log
from bennu_qserver.dispatch import compile_projections
from tests.journal_writer import Entry, JournalWriter
from tests.qserver.history import START_US
from tests.qserver.loops import looping
from tests.qserver.serving import connected, until
from tests.saga.story import Story, app_with

BANK = app_with(TransferSaga)
TABLES = ("sagas", "saga_steps", "saga_commands")

Row = Mapping[str, Any]


class SagaJournal:
    """A saga journal of a bank; each batch is a second after the one before."""

    def __init__(self, log: Log | None = None, *, partition: int = 0, partitions: int = 1) -> None:
        self.log = log or MemoryLog(MemoryBroker())
        self.writer = JournalWriter(self.log, f"bank-saga-{partition}", partition=partition, partitions=partitions)
        self.now_us = START_US
        self._told = 0

    async def begin(self) -> None:
        """Make it, and begin an epoch."""
        await self.log.create(self.writer.position.topic)
        await self.writer.epoch()

    async def batch(self, *records: Message) -> bytes:
        """One batch of one entry; its bytes."""
        self.now_us += 1_000_000
        return await self.writer.batch([Entry("cause", records)], recorded_at_us=self.now_us)

    async def tell(self, story: Story) -> None:
        """What has been recorded in a story since it was last told."""
        records, self._told = story.records[self._told :], len(story.records)
        await self.batch(*records)

    async def cut_up(self, records: Sequence[Message], chance: Random) -> bytes:
        """These, in batches of random sizes; the last one's bytes."""
        rest, last = list(records), b""
        while rest:
            size = chance.choice((1, 2, 3, 10))
            last = await self.batch(*rest[:size])
            del rest[:size]
        return last


@asynccontextmanager
async def shown(journal: SagaJournal, dsn: str, app: App = BANK) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    """Inside, all of the journal is in the tables."""
    assert [projection.name for projection in compile_projections(app)] == ["sagas"]
    async with connected(dsn) as connection, looping(journal.log, dsn, app=app):
        offset = "SELECT log_offset = $1 FROM bennu.positions WHERE projection = 'sagas'"
        await until(lambda: connection.fetchval(offset, journal.writer.position.offset))
        yield connection


async def tables(connection: "asyncpg.Connection[asyncpg.Record]") -> dict[str, list[Row]]:
    """All rows."""
    return {
        name: [dict(row) for row in await connection.fetch(f"SELECT * FROM bank.{name} ORDER BY 1, 2, 3")]
        for name in TABLES
    }
