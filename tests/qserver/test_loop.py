"""The projection loop on the log in memory, with a real Postgres."""

import asyncio
from random import Random

import asyncpg
import pytest
from google.protobuf.message import Message

from bank.v1.commands_pb2 import OpenAccount
from bank.v1.events_pb2 import AccountOpened, Deposited
from bennu.domain import BIGINT, JSONB, TEXT, Column, EventMeta, Projection, Rows, Table, projects
from bennu.errors import BadSettings, Final, JournalBroken, OffsetBeyondTail, RecordBroken, UnknownToBuild
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.replica.journal import encode
from tests.journal_writer import Entry, JournalWriter
from tests.qserver.loops import bank_with, looping, stopped_by, write_noise
from tests.qserver.serving import World, connected, until

pytestmark = pytest.mark.real

OPENED = AccountOpened(account="a", currency="EUR")
DEPOSITED = Deposited(account="a", amount_minor=1, currency="EUR", balance_minor=1)


async def restarted(dsn: str, *, seed: int) -> None:
    """Histories with noise; the loops are cut off wherever they are, again and again."""
    world = World(MemoryLog(MemoryBroker()), dsn, seed=seed, partitions=2)
    await world.create()
    random = Random(seed)
    for _ in range(6):
        await world.write(15)
        async with looping(world.log, dsn, partitions=2):
            await world.write(15)
            for writer in world.writers:
                last = await writer.batch([], recorded_at_us=world.banks[0].clock_us)
                await write_noise(writer, random, last=last)
            await asyncio.sleep(random.random() / 10)  # chance: where the loops are cut off
    async with looping(world.log, dsn, partitions=2):
        await world.shown()


@pytest.mark.parametrize("seed", [21, 22, 23])
def test_rows_are_written_once_whatever_is_cut_off(database: str, seed: int) -> None:
    """Loops ended at any moment, void records and duplicates: in the end each effective batch is shown once."""
    asyncio.run(restarted(database, seed=seed))


class Cells(Projection):
    """One table, filled with what an owner's name asks for."""

    name = "cells"
    tables = (
        Table(
            "cells",
            key=("partition", "account"),
            columns=(
                Column("partition", BIGINT),
                Column("account", TEXT),
                Column("amount", BIGINT),
                Column("note", TEXT),
                Column("said", JSONB, nullable=True),
            ),
        ),
    )

    @projects
    def opened(self, event: AccountOpened, rows: Rows, meta: EventMeta) -> None:
        mine = {"partition": meta.partition}
        match event.owner:
            case "null":
                rows.upsert("cells", {**mine, "account": event.account}, note=None)
            case "range":
                rows.upsert("cells", {**mine, "account": event.account}, amount=2**63)
            case "json":
                rows.upsert("cells", {**mine, "account": event.account}, said="{")
            case "index":
                rows.upsert("cells", {**mine, "account": "".join(map(chr, range(0x4E00, 0x5E00)))})
            case "zero":
                rows.upsert("cells", {**mine, "account": "x\0"}, note="\0")
                rows.upsert("cells", {**mine, "account": "x\ufffd"}, amount=1)
            case "raise":
                raise LookupError("no such thing")
            case "sum":
                rows.increment("cells", {**mine, "account": "sum"}, amount=2**63 - 1)
            case "again":
                rows.append("cells", **mine, account="again")
            case _:
                rows.upsert("cells", {**mine, "account": event.account}, note="well")


def opened(owner: str) -> AccountOpened:
    """An event whose row is what `owner` says; each has a key of its own."""
    return AccountOpened(account=owner, owner=owner, currency="EUR")


async def journal(*batches: list[Message]) -> tuple[MemoryLog, JournalWriter]:
    """A journal of one epoch and these batches, each of one entry."""
    log = MemoryLog(MemoryBroker())
    writer = JournalWriter(log, "bank-events-0")
    await log.create("bank-events-0")
    await writer.epoch()
    for number, events in enumerate(batches):
        await writer.batch([Entry(f"c{number}", events)], recorded_at_us=number)
    return log, writer


async def parked(dsn: str, *owners: str) -> tuple[list[str], list[str]]:
    """The problems in the dead letters, and the accounts in the table, once these events were read."""
    log, writer = await journal([*map(opened, owners)])
    async with connected(dsn) as connection, looping(log, dsn, app=bank_with(Cells)):
        await until(lambda: stands_at(connection, writer.position.offset))
        letters = await connection.fetch("SELECT * FROM bennu.dead_letters ORDER BY seq")
        assert {row["state"] for row in letters} <= {"parked"}
        rows = await connection.fetch("SELECT account FROM bank.cells ORDER BY 1")
        return [row["problem"] for row in letters], [row["account"] for row in rows]


async def stands_at(connection: "asyncpg.Connection[asyncpg.Record]", offset: int) -> bool:
    """Whether all below this offset is projected."""
    return bool(await connection.fetchval("SELECT log_offset = $1 FROM bennu.positions", offset))


@pytest.mark.parametrize(
    ("owner", "words"),
    [
        ("null", ["bank-events-0, seq 2", "table `cells`, column `note`", "NULL"]),
        ("range", ["bank-events-0, seq 2", "table `cells`, column `amount`", "out of range"]),
        (
            "json",
            [
                "bank-events-0, seq 2 to 2",
                "table `cells` (partition, account, said)",
                "invalid input syntax for type json",
            ],
        ),
        ("index", ["bank-events-0, seq 2 to 2", "table `cells` (partition, account)", "index row"]),
        ("raise", ["bank-events-0, offset 1, seq 2", "AccountOpened", "no such thing"]),
    ],
)
def test_an_event_at_fault_is_parked(database: str, owner: str, words: list[str]) -> None:
    """What is wrong is told with topic, event, table and column; events of other keys are shown."""
    (said,), accounts = asyncio.run(parked(database, "well", owner, "fine"))
    assert all(word in said for word in words), said
    assert accounts == ["fine", "well"]


async def shown(dsn: str) -> list[tuple[object, ...]]:
    """The rows that texts with zero bytes lead to."""
    log, _ = await journal([opened("zero")])
    async with connected(dsn) as connection, looping(log, dsn, app=bank_with(Cells)):
        await until(lambda: connection.fetchval("SELECT EXISTS (SELECT FROM bank.cells)"))
        return [tuple(row) for row in await connection.fetch("SELECT account, amount, note FROM bank.cells")]


def test_a_zero_byte_is_replaced(database: str) -> None:
    """A text that Postgres can't hold is shown with U+FFFD in its place; two keys that become one are one row."""
    assert asyncio.run(shown(database)) == [("x\ufffd", 1, "\ufffd")]


@pytest.mark.parametrize(("owner", "fault"), [("sum", "out of range"), ("again", "duplicate key")])
def test_what_postgres_refuses_is_parked(database: str, owner: str, fault: str) -> None:
    """Of a sum that overflows and a row that is appended twice, what came first is shown."""
    (said,), accounts = asyncio.run(parked(database, owner, owner))
    assert said.startswith("bank-events-0, seq 2 to 2: table `cells` (partition, account")
    assert fault in said
    assert accounts == [owner]


async def unknown_type(dsn: str) -> Final:
    """A good batch, then one with an event that the bank does not know."""
    log, _ = await journal([OPENED], [OpenAccount(account="b", currency="EUR")])
    return await stopped_by(log, dsn)


def test_an_unknown_event_type_stops(database: str) -> None:
    """An event outside the app's is never skipped: the loop stops with topic, offset and type."""
    error = asyncio.run(unknown_type(database))
    assert isinstance(error, UnknownToBuild)
    assert str(error) == "bank-events-0, offset 2: event type bank.v1.OpenAccount is not known to app `bank`"


async def with_record(dsn: str, body: bytes) -> Final:
    """A good batch, then these bytes."""
    log, writer = await journal([OPENED, DEPOSITED])
    await writer.append(body)
    return await stopped_by(log, dsn)


def test_garbage_stops(database: str) -> None:
    """Bytes that are no journal record stop the loop with topic and offset."""
    error = asyncio.run(with_record(database, b"\xff garbage"))
    assert isinstance(error, RecordBroken)
    assert str(error).startswith("bank-events-0, offset 2: ")


async def with_gap(dsn: str) -> Final:
    """A batch is missing between two."""
    log, writer = await journal([OPENED])
    writer.position = writer.position._replace(batch_no=writer.position.batch_no + 1)
    await writer.batch([Entry("late", [DEPOSITED])], recorded_at_us=5)
    return await stopped_by(log, dsn)


def test_a_missing_batch_stops(database: str) -> None:
    """A gap in the journal stops the loop with topic, offset and the numbers of the batches."""
    error = asyncio.run(with_gap(database))
    assert isinstance(error, JournalBroken)
    assert str(error) == "bank-events-0, offset 2: batch 3 follows batch 1; one is missing"


async def with_columns_that_differ(dsn: str) -> Final:
    """A batch that speaks of more events than it holds."""
    log, writer = await journal([OPENED])
    batch = writer.build([Entry("c", [DEPOSITED])], recorded_at_us=5)
    batch.event_counts[0] = 2
    await writer.append(encode(batch))
    return await stopped_by(log, dsn)


def test_columns_that_do_not_fit_stop(database: str) -> None:
    """A batch whose columns differ in length stops the loop with topic, offset and batch."""
    error = asyncio.run(with_columns_that_differ(database))
    assert isinstance(error, RecordBroken)
    assert str(error).startswith("bank-events-0, offset 2: batch 2 has events that can't be read")


async def of_other_partitions(dsn: str, *, partitions: int) -> Final:
    """The journal says that it is the only one."""
    log, _ = await journal([OPENED])
    for number in range(1, partitions):
        await log.create(f"bank-events-{number}")
    return await stopped_by(log, dsn, partitions=partitions)


def test_a_journal_of_other_partitions_is_refused(database: str) -> None:
    """A journal whose epoch names another number of partitions stops the loop, which names both."""
    error = asyncio.run(of_other_partitions(database, partitions=2))
    assert isinstance(error, BadSettings)
    assert "the journal is of partition 0 of 1, read as partition 0 of 2" in str(error)


async def of_other_tables(dsn: str) -> Final:
    """Projected as one partition, then the settings say two."""
    world = World(MemoryLog(MemoryBroker()), dsn, seed=31)
    await world.create()
    await world.write(3)
    async with looping(world.log, dsn):
        await world.shown()
    return await stopped_by(world.log, dsn, partitions=2)


def test_tables_of_other_partitions_are_refused(database: str) -> None:
    """Tables that were filled from another number of partitions are left alone; the error names both."""
    error = asyncio.run(of_other_tables(database))
    assert isinstance(error, BadSettings)
    assert "its tables hold 1 partitions, the settings say 2" in str(error)


async def over_a_shorter_log(dsn: str) -> Final:
    """Projected, then the log is a shorter one."""
    world = World(MemoryLog(MemoryBroker()), dsn, seed=32)
    await world.create()
    await world.write(3)
    async with looping(world.log, dsn):
        await world.shown()
    log, _ = await journal([OPENED])
    return await stopped_by(log, dsn)


def test_a_log_that_lost_its_tail_stops(database: str) -> None:
    """A position beyond the end of the log stops the loop: what is shown is no longer in the journal."""
    assert isinstance(asyncio.run(over_a_shorter_log(database)), OffsetBeyondTail)
