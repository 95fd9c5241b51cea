"""Every part is killed under load, on a real RocketMQ and Postgres; what was acknowledged is there once."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import asyncpg
import grpc
import pytest

import bennu.log
from bank.app import app
from bank.v1 import bank_pb2_grpc
from bank.v1.commands_pb2 import Transfer
from bank.v1.events_pb2 import TransferRequested
from bennu.log.port import Log
from bennu.replica.journal import JournalReader, Position, Verdict
from bennu.stack.ports import free_port
from bennu.stack.postgres import Postgres
from bennu.stack.rocketmq import RocketMQ
from bennu.v1.journal_pb2 import EventBatch
from tests.e2e.cluster import Cluster
from tests.e2e.load import Load

checks = pytest.importorskip("bank.checks", reason="the recomputation of the tables is not written yet")

pytestmark = pytest.mark.real

SEED = 20261124
PARTITIONS = 2
CLIENTS = 6
PROGRESS_TRANSFERS = 60
PROGRESS_TIMEOUT_S = 90.0
SETTLE_TIMEOUT_S = 120.0
ENDS = ("bank.v1.TransferCompleted", "bank.v1.TransferFailed")


async def make_topics(log_url: str) -> None:
    """What `bennu topics create` makes."""
    async with bennu.log.open(log_url) as log:
        for number in range(PARTITIONS):
            for kind in ("events", "commands", "saga"):
                await log.create(f"{app.name}-{kind}-{number}")


async def effective(log: Log, topic: str) -> list[EventBatch]:
    """The effective batches of a journal up to its end."""
    _, end = await log.bounds(topic)
    reader, found = JournalReader(Position(topic)), []
    async with aclosing(log.read(topic, 0)) as chunks:
        async for chunk in chunks:
            for offset, body in chunk:
                verdict, record = reader.classify(offset, body)
                if verdict is Verdict.BATCH and isinstance(record, EventBatch):
                    found.append(record)
            if reader.position.offset >= end:
                return found
    raise AssertionError(f"{topic} ended early")


def transfers_by_event(batches: list[EventBatch]) -> dict[str, Counter[str]]:
    """How often each transfer was requested and ended."""
    found: dict[str, Counter[str]] = {}
    for batch in batches:
        for index, raw in zip(batch.event_type_indexes, batch.events, strict=True):
            name = batch.event_types[index]
            if name in ENDS or name == "bank.v1.TransferRequested":
                event = app.events[name].message.FromString(raw)
                found.setdefault(app.events[name].key(event), Counter())[name] += 1
    return found


async def settled(log: Log, load: Load) -> dict[str, Counter[str]]:
    """Wait until each acknowledged transfer has ended."""
    async with asyncio.timeout(SETTLE_TIMEOUT_S):
        while True:
            found: dict[str, Counter[str]] = {}
            for number in range(PARTITIONS):
                found |= transfers_by_event(await effective(log, f"bank-events-{number}"))
            nothing: Counter[str] = Counter()
            if all(any(found.get(name, nothing)[end] for end in ENDS) for name in load.acknowledged):
                return found
            await asyncio.sleep(0.5)  # other processes are at work; there is nothing to await here


async def tables_agree(log: Log, dsn: str) -> None:
    """Wait until QServer has caught up, then compare every row."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        async with asyncio.timeout(SETTLE_TIMEOUT_S):
            while True:
                batches = [await effective(log, f"bank-events-{number}") for number in range(PARTITIONS)]
                wrong = await checks.table_differences(connection, checks.recompute(batches))
                if not wrong:
                    return
                await asyncio.sleep(0.5)  # QServer is another process; `wrong` says what is missing when time is up
    finally:
        await connection.close()


async def repeat_some(load: Load) -> None:
    """The same ids again: the original replies, byte for byte."""
    async with grpc.aio.insecure_channel(load.address) as channel:
        bank = bank_pb2_grpc.BankStub(channel)
        view = load.acknowledged
        for name in list(view)[::50]:
            was = TransferRequested.FromString(view[name])
            again = Transfer(
                transfer=name,
                source=was.source,
                target=was.target,
                amount_minor=was.amount_minor,
                currency=was.currency,
            )
            reply = await bank.Transfer(again, metadata=(("idempotency-key", name),), timeout=10)
            assert reply.SerializeToString() == view[name]


def blocking(*steps: Callable[[], object]) -> Callable[[], Awaitable[None]]:
    """Steps that block, one after another, off the loop."""

    async def run() -> None:
        for step in steps:
            await asyncio.to_thread(step)

    return run


async def scenario(rocketmq: RocketMQ, dsn: str, directory: Path) -> None:
    """Load, then kill -9 of each part in turn, each time waiting for progress; then all invariants."""
    await make_topics(rocketmq.log_url)
    cluster = Cluster(rocketmq.log_url, dsn, directory=directory, grpc_port=free_port(), partitions=PARTITIONS)
    async with cluster, bennu.log.open(rocketmq.log_url) as log:
        load = Load(cluster.grpc, SEED)
        await asyncio.wait_for(load.prepare(), PROGRESS_TIMEOUT_S)
        running = asyncio.create_task(load.run(CLIENTS))
        await load.wait_for(PROGRESS_TRANSFERS, PROGRESS_TIMEOUT_S)
        for service in cluster.services.values():
            await asyncio.to_thread(service.kill)
            await service.start()
            await load.wait_for(PROGRESS_TRANSFERS, PROGRESS_TIMEOUT_S)
        for part in (rocketmq.broker, rocketmq.proxy):
            await blocking(part.kill, part.start)()
            await load.wait_for(PROGRESS_TRANSFERS, PROGRESS_TIMEOUT_S)
        load.stopping = True
        await asyncio.wait_for(running, PROGRESS_TIMEOUT_S)
        found = await settled(log, load)
        for name in load.acknowledged:
            assert found[name]["bank.v1.TransferRequested"] == 1, name
        assert all(sum(seen[end] for end in ENDS) == 1 for seen in found.values())
        assert any(seen["bank.v1.TransferFailed"] for seen in found.values()), "the load must compensate some"
        await tables_agree(log, dsn)
        await repeat_some(load)


def test_each_part_is_killed_under_load(rocketmq: RocketMQ, postgres: Postgres, database: str, tmp_path: Path) -> None:
    """After kill -9 of CServer, Saga, QServer, broker and proxy in turn, everything acknowledged is there once."""
    print(f"seed {SEED}")
    asyncio.run(scenario(rocketmq, database, tmp_path))
