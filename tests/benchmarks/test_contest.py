"""Each entrant of `bennu bench commands` does what it is said to do; how fast is asked of nobody here."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import grpc
import pytest

from bank.v1 import bank_pb2_grpc
from bank.v1.commands_pb2 import Deposit
from bank.v1.queries_pb2 import GetAccount
from benchmarks.contest.bare_loop import TOPIC as BARE_TOPIC
from benchmarks.contest.calls import Called, OpenLoop, Streamed, Who
from benchmarks.contest.disk import Synced
from benchmarks.contest.library import WithLibrary
from benchmarks.contest.place import Place
from benchmarks.contest.port import Entrant, Round
from benchmarks.contest.postgres import ByFunction, ByTransaction, InPostgres
from benchmarks.contest.producer import QUEUES, TOPIC, Produced, asked, read_told
from benchmarks.frames import NAMES, deposit_frames
from benchmarks.serving import bench_folder
from benchmarks.stream import StreamClient
from bennu import log as bennu_log
from bennu.errors import Unavailable
from bennu.v1.journal_pb2 import EventBatch

SECONDS = 0.2
OURS = Who("bennu", "sqlite")
pytestmark = pytest.mark.real


@asynccontextmanager
async def place() -> AsyncIterator[Place]:
    """An empty one, gone after the block."""
    with bench_folder() as folder:
        async with AsyncExitStack() as closing:
            yield Place(folder, closing)


def adds_up(found: Round) -> None:
    """Every command was carried out, and timed."""
    assert found.commands > 0
    assert found.seconds > 0
    assert found.refused == 0
    assert min(found.latencies_ms) > 0


async def money(channel: grpc.aio.Channel) -> int:
    """Of all accounts at a CServer."""
    bank = bank_pb2_grpc.BankStub(channel)
    views = [await bank.GetAccount(GetAccount(account=name), timeout=10) for name in NAMES]
    return sum(view.balance_minor for view in views)


def test_every_command_of_ours_is_paid_once() -> None:
    """By the stream, by calls and at a fixed rate: the money is that of all commands that were counted."""

    async def measured() -> None:
        async with place() as here:
            entrants: list[Entrant] = [Streamed(OURS, 20), Called(OURS, 4), OpenLoop(OURS, 1_000)]
            channel = (await here.bennu("sqlite")).channel
            for each in entrants:
                await each.prepare(here)
                before = await money(channel)
                found = await each.round(SECONDS)
                adds_up(found)
                assert await money(channel) - before == 5 * found.commands

    asyncio.run(measured())


def test_at_a_fixed_rate_waiting_for_a_slow_server_counts() -> None:
    """A command is timed from when it was to be sent, also where the one before holds it up."""

    async def measured() -> None:
        async with place() as here:
            each = OpenLoop(OURS, 1_000)
            await each.prepare(here)
            server = await here.bennu("sqlite")
            stopped_s = 1.0

            async def stand_still() -> None:
                os.kill(server.process.pid, signal.SIGSTOP)
                await asyncio.sleep(stopped_s)
                os.kill(server.process.pid, signal.SIGCONT)

            found, _ = await asyncio.gather(each.round(0.2), stand_still())
            assert found.commands == len(found.latencies_ms) == 200
            # Those due when it stopped waited as long, the last ones 0.2 s less; half a second is for a slow begin.
            assert max(found.latencies_ms) > 1000 * (stopped_s - 0.5)
            assert sorted(found.latencies_ms)[100] > 1000 * (stopped_s - 0.1 - 0.5)

    asyncio.run(measured())


def test_the_bare_loop_writes_what_it_answers() -> None:
    """Ids once each, balances that add up, and a repeated id gets its first answer and no second entry."""

    async def measured() -> None:
        async with place() as here:
            each = Streamed(Who("bare-loop", "sqlite"), 100)
            await each.prepare(here)
            server = await Who("bare-loop", "sqlite").at(here)
            client = StreamClient(server.channel, "again")
            for _ in range(2):
                await client.send(deposit_frames(10, 3, run="again"), in_flight=1)
            async with bennu_log.open(here.log_url("sqlite", "bare-loop-sqlite")) as log:
                _, end = await log.bounds(BARE_TOPIC)
                ids: list[str] = []
                async for chunk in log.read(BARE_TOPIC, 0):
                    for record in chunk:
                        batch = EventBatch.FromString(record.body)
                        assert len(batch.command_ids) == len(batch.events)
                        ids += batch.command_ids
                    if chunk[-1].offset == end - 1:
                        break
            assert len(ids) == len(set(ids))
            assert sum(each.startswith("again-") for each in ids) == 30

    asyncio.run(measured())


def test_an_echo_answers_calls_of_the_banks_stub() -> None:
    """So that the same client measures it."""

    async def measured() -> None:
        async with place() as here:
            each = Called(Who("echo"), 4)
            await each.prepare(here)
            adds_up(await each.round(SECONDS))
            server = await Who("echo").at(here)
            bank = bank_pb2_grpc.BankStub(server.channel)
            assert (await bank.Deposit(Deposit(account="any"), timeout=10)).currency == "EUR"

    asyncio.run(measured())


@pytest.mark.parametrize("way", [ByTransaction, ByFunction])
def test_in_postgres_every_command_has_its_entry(way: type[ByTransaction] | type[ByFunction]) -> None:
    """Balances are the sums of the entries, of which there is one for each id; a repeated id pays nothing."""

    async def measured() -> None:
        async with place() as here:
            each = InPostgres(way, 4)
            await each.prepare(here)
            adds_up(await each.round(SECONDS))
            connection = await asyncpg.connect(await here.database(way.kind))
            session = way(connection)
            await session.prepare()
            first = await session.deposit("once", NAMES[0])
            if way is ByFunction:
                assert await session.deposit("once", NAMES[0]) == first
            else:
                with pytest.raises(asyncpg.UniqueViolationError):
                    await session.deposit("once", NAMES[0])
            sums = "SELECT sum(balance_minor), (SELECT sum(amount_minor) FROM entries) FROM accounts"
            balances, amounts = await connection.fetchrow(sums) or (0, 0)
            entries = await connection.fetchval("SELECT count(*) FROM entries")
            ids = await connection.fetchval("SELECT count(DISTINCT command_id) FROM commands")
            assert balances == amounts == 5 * entries
            assert entries == ids > 1
            assert await connection.fetchval("SHOW synchronous_commit") == "on"
            assert await connection.fetchval("SHOW fsync") == "on"
            await connection.close()

    asyncio.run(measured())


def test_the_library_keeps_every_deposit() -> None:
    """Events in Postgres are as many as commands, and another process reads the same balances from them."""

    async def measured() -> None:
        async with place() as here:
            each = WithLibrary(2)
            await each.prepare(here)
            adds_up(await each.round(SECONDS))
            assert each.bank is not None
            connection = await asyncpg.connect(await here.database("eventsourcing_2"))
            deposits = await connection.fetchval("SELECT count(*) FROM bank_events WHERE topic LIKE '%Deposited'")
            await connection.close()
            assert sum(map(each.bank.balance_minor, NAMES)) == 5 * deposits > 0
            each.bank.repository.cache = None
            assert sum(map(each.bank.balance_minor, NAMES[:20])) > 0

    asyncio.run(measured())


def test_rocketmqs_producer_counts_what_the_broker_has() -> None:
    """What it says of its last seconds is about as much as its topic holds."""

    async def measured() -> None:
        async with place() as here:
            each = Produced(4, lines=1)
            await each.prepare(here)
            found = await each.round(1.0)
            assert found.per_second > 10
            admin = ("topicStatus", "-n", here.rocketmq().namesrv_address, "-t", TOPIC)
            rows = [line.split() for line in asked(here.rocketmq(), *admin).splitlines() if "bennu-a" in line]
            assert len(rows) == QUEUES
            # Its looks at the clock come in bunches where Java has to wait, and so are about less than these seconds.
            assert sum(int(row[3]) for row in rows) >= found.commands / 2

    asyncio.run(measured())


def test_a_producer_that_lost_messages_is_no_measurement() -> None:
    """What else it prints is passed over."""
    line = (
        "Current Time: 2026-11-29 13:00:00,000 | Send TPS: 1234 | Max RT(ms): 9 | Average RT(ms):   0.8 | "
        "Send Failed: {} | Response Failed: {}"
    )
    assert read_told(line.format(0, 0)) == 1234
    assert read_told("topic: producer-benchmark threadCount: 64") is None
    for lost in ((1, 0), (0, 1)):
        with pytest.raises(Unavailable, match="lost messages"):
            read_told(line.format(*lost))


def test_the_disk_is_asked_for_each_write() -> None:
    """As many bytes as commands."""

    async def measured() -> None:
        async with place() as here:
            each = Synced()
            await each.prepare(here)
            found = await each.round(SECONDS)
            adds_up(found)
            assert (here.folder / "fdatasync").stat().st_size == 100 * found.commands

    asyncio.run(measured())
