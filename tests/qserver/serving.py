"""QServer processes over an embedded log and a real Postgres, and what tests wait for of them."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, closing, contextmanager
from dataclasses import asdict, fields
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from random import Random
from typing import Any

import asyncpg

import bennu.log
from bank import checks
from bank.checks import recompute, table_differences
from bennu.log.port import Log
from bennu.replica.journal import JournalReader, Position, Verdict
from bennu.stack.service import clean_environ
from bennu.v1.journal_pb2 import EventBatch
from tests.journal_writer import JournalWriter
from tests.qserver.history import Bank, Rows, merged, write_history
from tests.service_process import Service

TIMEOUT_S = 60.0
POLL_S = 0.02
LIVE_POSITIONS = """
SELECT partition, log_offset FROM bennu.positions NATURAL JOIN bennu.generations
WHERE projection = 'ledger' AND state = 'live'
"""


def qserver(
    directory: Path, dsn: str, *, partitions: int = 1, app: str = "bank.app:app", name: str = "qserver"
) -> Service:
    """A QServer on the log in `directory`; its own folder there has its `name`, and holds its log lines."""
    environ = clean_environ()
    environ["BENNU_POSTGRES"] = dsn
    flags = ["--app", app, "--log", f"sqlite:{directory / 'log'}", "--partitions", str(partitions), "--node", name]
    own = directory / name
    own.mkdir(exist_ok=True)
    return Service("qserver", flags, directory=own, environ=environ)


@asynccontextmanager
async def started(*services: Service) -> AsyncIterator[None]:
    """They run inside the block; what is still there at its end is killed."""
    try:
        await asyncio.gather(*(service.start() for service in services))
        yield
    finally:
        for service in services:
            await asyncio.to_thread(service.kill)


async def unmet(service: Service) -> dict[str, str]:
    """The conditions of `/readyz` that are not met, each with its reason; none when it is ready."""
    code, page = await asyncio.to_thread(_got, service.announced["ops"], "/readyz")
    conditions: dict[str, dict[str, Any]] = json.loads(page)["conditions"]
    found = {name: said["reason"] for name, said in conditions.items() if not said["met"]}
    assert (code == HTTPStatus.OK) is (not found)
    return found


async def is_ready(service: Service) -> bool:
    """Whether it says so."""
    return not await unmet(service)


async def metrics(service: Service) -> str:
    """What it tells Prometheus."""
    return (await asyncio.to_thread(_got, service.announced["ops"], "/metrics"))[1]


def _got(address: str, path: str) -> tuple[int, str]:
    with closing(HTTPConnection(address, timeout=TIMEOUT_S)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()


@asynccontextmanager
async def connected(dsn: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    """A connection of the test's own."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        yield connection
    finally:
        await connection.close()


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """These processes stand still inside the block."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


class World:
    """The journals of a bank, its random histories, and the database that must come to show them."""

    def __init__(self, log: Log, dsn: str, *, seed: int, partitions: int = 1) -> None:
        print(f"seed {seed}")
        self.log, self.dsn = log, dsn
        self.banks = [Bank(Random(f"{seed}-{number}"), number) for number in range(partitions)]
        self.writers = [
            JournalWriter(log, f"bank-events-{number}", partition=number, partitions=partitions)
            for number in range(partitions)
        ]

    async def create(self) -> None:
        """Make the topics."""
        for writer in self.writers:
            await self.log.create(writer.position.topic)

    async def write(self, batches: int) -> None:
        """Go on with the history of every partition."""
        for writer, bank in zip(self.writers, self.banks, strict=True):
            await write_history(writer, bank, batches=batches)

    async def shown(self) -> None:
        """Wait until all is projected; then the tables are what both folds of the history say."""
        ends = {number: writer.position.offset for number, writer in enumerate(self.writers)}
        async with connected(self.dsn) as connection:
            await until(lambda: _projected(connection, ends))
            expected = recompute([await effective(self.log, writer.position.topic) for writer in self.writers])
            assert as_rows(expected) == merged(bank.tables for bank in self.banks)
            assert not await table_differences(connection, expected)


async def _projected(connection: "asyncpg.Connection[asyncpg.Record]", ends: dict[int, int]) -> bool:
    try:
        rows = await connection.fetch(LIVE_POSITIONS)
    except asyncpg.UndefinedTableError:
        return False  # QServer has not come so far
    return {row["partition"]: row["log_offset"] for row in rows} == ends


def as_rows(tables: checks.Tables) -> Rows:
    """The recomputed tables in the form of the histories'."""
    return {
        field.name: {
            key if isinstance(key, tuple) else (key,): asdict(row) for key, row in getattr(tables, field.name).items()
        }
        for field in fields(tables)
    }


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Return when it holds; it is another process's doing, so it can only be asked again and again."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            if await holds():
                return
            await asyncio.sleep(POLL_S)


async def effective(log: Log, topic: str) -> list[EventBatch]:
    """The effective batches of a journal up to its end."""
    _, end = await log.bounds(topic)
    reader, found = JournalReader(Position(topic)), list[EventBatch]()
    async with aclosing(log.read(topic, 0)) as chunks:
        while reader.position.offset < end:
            for record in await anext(chunks):
                verdict, said = reader.classify(record.offset, record.body)
                if verdict is Verdict.BATCH and isinstance(said, EventBatch):
                    found.append(said)
    return found


@asynccontextmanager
async def bank_world(directory: Path, dsn: str, *, seed: int, partitions: int = 1) -> AsyncIterator[World]:
    """A world whose log is in `directory`, with its topics made."""
    async with bennu.log.open(f"sqlite:{directory / 'log'}") as log:
        world = World(log, dsn, seed=seed, partitions=partitions)
        await world.create()
        yield world
