"""Every part is killed under load, on a real RocketMQ and Postgres; what was acknowledged is there once."""

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest

import bennu.log
from bank import checks
from bank.app import app
from bank.clients import clients
from bank.v1.commands_pb2 import Transfer
from bank.v1.events_pb2 import TransferRequested
from bennu.log.port import Log
from bennu.replica.history import effective_batches
from bennu.stack.ports import HOST, free_port
from bennu.stack.stack import LogKind
from bennu.stack.suite import Suite, SuiteSettings
from bennu.v1.journal_pb2 import EventBatch
from tests.e2e.load import Load

pytestmark = pytest.mark.real

SEED = 20261124
PARTITIONS = 2
CALLERS = 6
PROGRESS_TRANSFERS = 60
PROGRESS_TIMEOUT_S = 90.0
SETTLE_TIMEOUT_S = 120.0
POLL_S = 0.5
REQUESTED, COMPLETED, FAILED = (f"bank.v1.Transfer{what}" for what in ("Requested", "Completed", "Failed"))


async def journals(log: Log) -> list[list[EventBatch]]:
    """The effective batches of each partition."""
    return [await effective_batches(log, f"{app.name}-events-{number}") for number in range(PARTITIONS)]


def transfers_by_event(batches: list[EventBatch]) -> dict[str, Counter[str]]:
    """How often each transfer was requested and ended."""
    found: dict[str, Counter[str]] = {}
    for batch in batches:
        for index, raw in zip(batch.event_type_indexes, batch.events, strict=True):
            name = batch.event_types[index]
            if name in (REQUESTED, COMPLETED, FAILED):
                event = app.events[name].message.FromString(raw)
                found.setdefault(app.events[name].key(event), Counter())[name] += 1
    return found


async def settled(log: Log, load: Load) -> dict[str, Counter[str]]:
    """Wait until each acknowledged transfer has ended."""
    async with asyncio.timeout(SETTLE_TIMEOUT_S):
        while True:
            found: dict[str, Counter[str]] = {}
            for batches in await journals(log):
                found |= transfers_by_event(batches)
            ended = {name for name, seen in found.items() if seen[COMPLETED] or seen[FAILED]}
            if load.acknowledged.keys() <= ended:
                return found
            await asyncio.sleep(POLL_S)  # other processes are at work; there is nothing to await here


async def tables_agree(log: Log, dsn: str, *, money_minor: int) -> None:
    """Wait until QServer has caught up, then compare every row; money is what was paid in."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        async with asyncio.timeout(SETTLE_TIMEOUT_S):
            while wrong := await checks.table_differences(connection, checks.recompute(await journals(log))):
                print("\n".join(wrong))  # what is missing, should time be up
                await asyncio.sleep(POLL_S)
        tables = await checks.read_tables(connection)
        assert checks.money(tables) == {"EUR": money_minor}
        assert checks.entry_sums(tables) == {"EUR": 0}
    finally:
        await connection.close()


async def repeat_some(load: Load) -> None:
    """The same ids again: the original replies, byte for byte."""
    async with clients(load.address, 1, seed=SEED) as (client,):
        for name in list(load.acknowledged)[::50]:
            was = TransferRequested.FromString(load.acknowledged[name])
            again = Transfer(
                transfer=name,
                source=was.source,
                target=was.target,
                amount_minor=was.amount_minor,
                currency=was.currency,
            )
            reply = await client.call(client.bank.Transfer, again, name)
            assert reply.SerializeToString() == load.acknowledged[name]


async def each_part_killed(suite: Suite, load: Load) -> None:
    """kill -9 of each part in turn, each time waiting for progress."""
    assert suite.stack.rocketmq is not None
    broker, proxy = suite.stack.rocketmq.broker, suite.stack.rocketmq.proxy
    for part in (*suite.services.values(), broker, proxy):
        await _off_the_loop(part.kill, part.start)
        await load.wait_for(PROGRESS_TRANSFERS, PROGRESS_TIMEOUT_S)


async def _off_the_loop(*steps: Callable[[], None]) -> None:
    for step in steps:
        await asyncio.to_thread(step)


async def scenario(folder: Path) -> None:
    """All of it, on a RocketMQ of its own."""
    settings = SuiteSettings("bank.app:app", app.name, LogKind.ROCKETMQ, PARTITIONS, f"{HOST}:{free_port()}")
    async with Suite(settings, folder) as suite, bennu.log.open(suite.log_url) as log:
        try:
            await exercise(suite, log)
        finally:
            for service in suite.services.values():  # shown if the test fails
                print(f"--- {service.program.name}\n{service.last_lines()}")


async def exercise(suite: Suite, log: Log) -> None:
    """The load, the kills, and then all invariants."""
    load = Load(suite.grpc, SEED)
    await asyncio.wait_for(load.prepare(), PROGRESS_TIMEOUT_S)
    running = asyncio.create_task(load.run(CALLERS))
    await load.wait_for(PROGRESS_TRANSFERS, PROGRESS_TIMEOUT_S)
    await each_part_killed(suite, load)
    load.stopping = True
    await asyncio.wait_for(running, PROGRESS_TIMEOUT_S)
    found = await settled(log, load)
    assert all(found[name][REQUESTED] == 1 for name in load.acknowledged)
    assert all(seen[COMPLETED] + seen[FAILED] == 1 for seen in found.values())
    assert any(seen[FAILED] for seen in found.values()), "the load must compensate some"
    await tables_agree(log, suite.dsn, money_minor=load.accounts * 1_000_000)
    await repeat_some(load)


def test_each_part_is_killed_under_load() -> None:
    """After kill -9 of CServer, Saga, QServer, broker and proxy in turn, everything acknowledged is there once."""
    print(f"seed {SEED}")
    with TemporaryDirectory(prefix="bennu-kills-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)  # for root: Postgres runs as another user, who must get through
        asyncio.run(scenario(folder))
