"""Managers of loops inside the test, over the log in memory and a real Postgres: each stands for a process."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import ClassVar

import asyncpg

from bank.v1.events_pb2 import Deposited
from bennu.cli.projections_desk import Asked, Desk, Row
from bennu.domain import BIGINT, TEXT, App, Column, EventMeta, Projection, Rows, Table, projects
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.log.port import Log
from bennu.ops.generations import SWITCH
from bennu.ops.metrics import Metrics
from bennu.ops.readiness import Readiness
from bennu_qserver import status
from bennu_qserver.database import Database, open_database
from bennu_qserver.dispatch import compile_projections
from bennu_qserver.generations import Worker
from bennu_qserver.limits import BUILDING_CHANGES, POOL_CONNECTIONS
from bennu_qserver.manager import Manager, Means
from bennu_qserver.migration import migrate
from bennu_qserver.projection_loop import Outside
from bennu_qserver.status import Board
from tests.journal_writer import Entry, JournalWriter
from tests.qserver.loops import bank_with
from tests.qserver.serving import connected, until

ASKED = Asked("ann", "test")
ACCOUNTS = 5


class Marks(Projection):
    """Two tables that tell by which version of the rules each row was made, and whose sums are equal."""

    name = "marks"
    made_by: ClassVar[int] = 1
    tables = (
        Table(
            "marks",
            key=("partition", "seq"),
            columns=(
                Column("partition", BIGINT),
                Column("seq", BIGINT),
                Column("amount", BIGINT),
                Column("made_by", BIGINT),
            ),
        ),
        Table(
            "sums",
            key=("account",),
            columns=(Column("account", TEXT), Column("amount", BIGINT), Column("made_by", BIGINT)),
        ),
    )

    @projects
    def deposited(self, event: Deposited, rows: Rows, meta: EventMeta) -> None:
        place = {"partition": meta.partition, "seq": meta.seq}
        rows.upsert("marks", place, amount=event.amount_minor, made_by=self.made_by)
        rows.increment("sums", {"account": event.account}, amount=event.amount_minor)
        rows.upsert("sums", {"account": event.account}, made_by=self.made_by)


class Marks2(Marks):
    """The same tables, by other rules."""

    made_by = version = 2


class Journals:
    """Deposits, in several partitions."""

    def __init__(self, *, partitions: int = 1, seed: int = 1) -> None:
        print(f"seed {seed}")
        self.log = MemoryLog(MemoryBroker())
        self.count, self._random, self._serial = partitions, Random(seed), 0
        self.writers = [
            JournalWriter(self.log, f"bank-events-{number}", partition=number, partitions=partitions)
            for number in range(partitions)
        ]

    async def begin(self) -> None:
        """Make the topics."""
        for writer in self.writers:
            await self.log.create(writer.position.topic)
            await writer.epoch()

    async def write(self, batches: int) -> None:
        """So many to each partition, of a few deposits each."""
        for _ in range(batches):
            for number, writer in enumerate(self.writers):
                self._serial += 1
                events = [self._deposit(number) for _ in range(self._random.randrange(1, 5))]
                await writer.batch([Entry(f"c{self._serial}", events)], recorded_at_us=self._serial)

    def _deposit(self, partition: int) -> Deposited:
        account = f"a{partition}-{self._random.randrange(ACCOUNTS)}"
        return Deposited(account=account, amount_minor=self._random.randrange(1, 1000), currency="EUR")

    @property
    def events(self) -> int:
        """How many there are."""
        return sum(writer.position.next_seq - 1 for writer in self.writers)


class Process:
    """What stands for a QServer: its manager and its readiness."""

    def __init__(self, manager: Manager, readiness: Readiness) -> None:
        self.manager, self.readiness = manager, readiness

    @property
    def places(self) -> set[tuple[str, int, int]]:
        """Projection, generation and partition of each of its loops."""
        return {loop.place[1:] for loop in self.manager.loops}

    def unmet(self) -> str:
        """Why projections wait; empty if none does."""
        conditions = self.readiness.report()["conditions"]
        assert isinstance(conditions, dict)
        return str(conditions[status.READY]["reason"])


@asynccontextmanager
async def managed(log: Log, dsn: str, app: App, *, node: str = "one", partitions: int = 1) -> AsyncIterator[Process]:
    """A process runs inside the block; an error of it ends the block."""
    metrics, readiness = Metrics(), Readiness()
    readiness.declare(status.READY)
    declared = compile_projections(app)
    worker = Worker("bank", node, Random().getrandbits(63), {each.name: each.declaration for each in declared})
    await migrate(dsn)
    async with open_database(dsn, name=node, metrics=metrics, readiness=readiness) as live:
        others = live.beside(connections=POOL_CONNECTIONS)
        means = Means(
            Outside(log, live, Board(readiness)), _of_others(log, others), live.beside(connections=1), metrics
        )
        manager = Manager(worker, declared, partitions=partitions, means=means)
        await manager.begin()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(manager.run())
            yield Process(manager, readiness)
            task.cancel()


def _of_others(log: Log, database: Database) -> Outside:
    return Outside(log, database, Board(Readiness()), most_changes=BUILDING_CHANGES)


MARKS, MARKS2 = bank_with(Marks), bank_with(Marks2)


class Operator:
    """Asks as `bennu projections` does, and looks."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.connection, self.desk = connection, Desk(connection, "bank")

    async def rebuild(self, *, wish: str | None = SWITCH, like: str = "") -> int:
        """Begin a generation of marks, once a process lives that declares it; its number."""
        await until(self._lives)
        return await self.desk.begin("marks", ASKED, wish=wish, like=like)

    async def _lives(self) -> bool:
        return bool(await self.desk.workers())

    async def wish(self, number: int, wish: str) -> None:
        """Of one that is there."""
        await self.desk.wish(await self.desk.row("marks", number), wish, ASKED)

    async def states(self) -> dict[int, str]:
        """Of all generations of marks, gone ones too."""
        rows = await self.connection.fetch("SELECT generation, state FROM bennu.generations ORDER BY generation")
        return {row[0]: row[1] for row in rows}

    async def come(self, number: int, state: str) -> None:
        """Wait until the generation is in this state."""

        async def is_so() -> bool:
            return (await self.states()).get(number) == state

        await until(is_so)

    async def problem(self, number: int) -> str:
        """Wait until there is one."""
        rows: list[Row] = []

        async def is_told() -> bool:
            rows[:] = [row for row in await self.desk.rows("marks") if row.generation == number and row.problem]
            return bool(rows)

        await until(is_told)
        return rows[0].problem or ""

    async def shows(self, made_by: Sequence[int], *, events: int) -> None:
        """Wait until the views show this many events, made by these versions of the rules alone."""

        async def is_so() -> bool:
            return (await look(self.connection)) == (list(made_by), events)

        await until(is_so)


_LOOK = """
SELECT
    (SELECT array_agg(DISTINCT made_by) FROM bank.marks) AS marks, (SELECT count(*) FROM bank.marks) AS events,
    (SELECT array_agg(DISTINCT made_by) FROM bank.sums) AS sums,
    (SELECT coalesce(sum(amount), 0) FROM bank.marks) = (SELECT coalesce(sum(amount), 0) FROM bank.sums) AS equal
"""


async def look(connection: "asyncpg.Connection[asyncpg.Record]") -> tuple[list[int], int]:
    """Who made what the views show, and how many events; two statements of a transaction must agree, and sums."""
    async with connection.transaction():
        first = await connection.fetchrow(_LOOK)
        again = await connection.fetchrow(_LOOK)
    assert first is not None
    assert again is not None
    assert first["equal"]
    assert first["marks"] == first["sums"] == (again["marks"] if first["events"] else first["marks"])
    return first["marks"] or [], first["events"]


@asynccontextmanager
async def watched(dsn: str) -> AsyncIterator[None]:
    """Somebody reads without end inside the block: one version at a time, and never less than before."""
    done = asyncio.Event()

    async def read() -> None:
        async with connected(dsn) as connection:
            before = 0
            while not done.is_set():
                made_by, events = await look(connection)
                assert len(made_by) <= 1, f"a mixture: {made_by}"
                assert events >= before, f"{events} events after {before}"
                before = events

    async with asyncio.TaskGroup() as group:
        group.create_task(read())
        yield
        done.set()
