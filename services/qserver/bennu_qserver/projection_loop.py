"""The one loop of QServer: a partition's journal into one projection's tables.

    read → is it effective? → rules → row changes, merged per key → one transaction: position, then rows

The position is compared and set by the transaction's first statement, so rows are written exactly once whatever
crashes, is retried, or runs twice; see `writing`, also for events that can't be written.  Whoever finds the position
moved by another projector stands by, and goes on only when that one has stopped moving it.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import NoReturn

import structlog

from bennu.cancellation import is_cancelled
from bennu.log.port import Log, Record
from bennu.ops.metrics import Metrics
from bennu.replica.journal import JournalReader, Position, Verdict
from bennu.v1.journal_pb2 import EpochStart, EventBatch
from bennu_qserver import dead_letters, positions
from bennu_qserver.database import Connection, Database
from bennu_qserver.dispatch import CompiledProjection
from bennu_qserver.errors import PositionMoved
from bennu_qserver.lag import NO_LAG, Lag, Waiting
from bennu_qserver.limits import STANDBY_POLL_S, TAKE_OVER_AFTER_S, TRANSACTION_CHANGES, WISH_POLL_S
from bennu_qserver.parked import Parked, ParkedGauges
from bennu_qserver.pending import Pending
from bennu_qserver.positions import Place, check_start
from bennu_qserver.status import FOLLOWING, STANDBY, STARTING, Board, Gauges
from bennu_qserver.writing import Writer

logger = structlog.get_logger()


@dataclass(frozen=True)
class Partition:
    """One of the app's partitions, and its journal."""

    number: int
    count: int
    topic: str


@dataclass(frozen=True)
class Outside:
    """What a loop works with."""

    log: Log
    database: Database
    board: Board
    most_changes: int = TRANSACTION_CHANGES
    """Of one transaction."""
    give_way: Callable[[], Awaitable[None]] | None = None
    """Waited for before each transaction."""


class ProjectionLoop:
    """One projection in one partition."""

    def __init__(
        self, projection: CompiledProjection, partition: Partition, *, outside: Outside, metrics: Metrics
    ) -> None:
        self._projection = projection
        self._partition = partition
        self._outside = outside
        self.topic = partition.topic
        self.place = Place(projection.app, projection.name, projection.generation, partition.number)
        self._gauges = Gauges(metrics, self.place)
        shown = (self._gauges, ParkedGauges(metrics, self.place))
        self._writer = Writer(projection, self.place, database=outside.database, gauges=shown)
        self._pending = self._new_pending(self._writer.saved)
        self._writing_since_s = 0.0
        self._waiting = Waiting()
        outside.board.set(self.place, STARTING)

    async def run(self) -> NoReturn:
        """Project for ever.  Raises the `Final` errors of the log, the journal and Postgres."""
        while True:
            position, parked = await self._outside.database.run(self._load)
            self._writer.begin(position, parked)
            self._pending, self._writing_since_s = self._new_pending(position), 0.0
            self._waiting = Waiting()
            self._outside.board.set(self.place, FOLLOWING)
            logger.info("projecting", place=str(self.place), offset=position.offset, parked=parked.events)
            try:
                await asyncio.create_task(self._project())
            except* PositionMoved as moved:
                self._gauges.moved.inc()
                logger.warning("standing by", place=str(self.place), reason=str(moved.exceptions[0]))
            finally:
                self._writer.end()
            if is_cancelled():  # while the other parts were ending because of the position
                raise asyncio.CancelledError
            self._outside.board.set(self.place, STANDBY)
            await self._stand_by()

    async def _project(self) -> None:
        """Until the position is moved by another one.

        In a task of its own: up to Python 3.12 a group that a child's error ends leaves its task marked as cancelled.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read())
            group.create_task(self._write())
            group.create_task(self._carry_out_wishes())

    def sample(self, tail: int) -> Lag:
        """How far the projection is behind a journal whose next offset is `tail`; shown as metrics, too."""
        saved = self._writer.saved
        events = self._pending.work.position.next_seq - saved.next_seq
        lag = Lag(max(0, tail - saved.offset), events, self._waiting.age_ms(saved.offset, time.time()))
        self._gauges.sampled(lag)
        return lag

    def stopped(self) -> None:
        """It is no longer this process's, which is behind with nothing of it."""
        self._gauges.sampled(NO_LAG)

    @property
    def projects(self) -> bool:
        """Whether it moves the position, and stands by for nobody."""
        return self._outside.board.projects(self.place)

    @property
    def waits_s(self) -> float:
        """How long the oldest change that was read waits to be written."""
        since_s = self._writing_since_s or self._pending.work.since_s
        return time.monotonic() - since_s if since_s else 0.0

    def _new_pending(self, position: Position) -> Pending:
        return Pending(position, self._writer.new_work, most_changes=self._outside.most_changes)

    async def _load(self, connection: Connection) -> tuple[Position, Parked]:
        partition = self._partition
        position = await positions.load(connection, self.place, topic=partition.topic, partitions=partition.count)
        await dead_letters.forget_others(connection, self.place)
        return position, await dead_letters.load(connection, self.place)

    # --- reading

    async def _read(self) -> None:
        reader = JournalReader(self._pending.work.position)
        async with aclosing(self._outside.log.read(self._partition.topic, reader.position.offset)) as chunks:
            async for chunk in chunks:
                for record in chunk:
                    await self._pending.room()
                    self._take(reader, record)
                    await asyncio.sleep(0)  # catching up must not starve the other loops and the operations port

    def _take(self, reader: JournalReader, record: Record) -> None:
        verdict, said = reader.classify(record.offset, record.body)
        where = f"{self._partition.topic}, offset {record.offset}"
        if verdict is Verdict.EPOCH and isinstance(said, EpochStart):
            check_start(said, self._partition.number, self._partition.count, where=where)
        elif verdict is Verdict.BATCH and isinstance(said, EventBatch):
            self._pending.work.take(said, self._projection, partition=self._partition.number, where=where)
            self._waiting.read(record.offset, said.recorded_at_us)
        self._pending.advanced(reader.position, size=len(record.body))

    # --- writing

    async def _write(self) -> NoReturn:
        while True:
            work = await self._pending.take()
            self._writing_since_s = work.since_s
            if self._outside.give_way is not None:
                await self._outside.give_way()
            await self._writer.write(work)
            self._writing_since_s = 0.0

    async def _carry_out_wishes(self) -> NoReturn:
        while True:
            await asyncio.sleep(WISH_POLL_S)
            if self._writer.parked.last_seqs:
                await self._writer.carry_out_wishes()

    async def _stand_by(self) -> None:
        """Return when nobody has moved the position for a while."""
        seen, since_s = await self._writer.read_position(), time.monotonic()
        while time.monotonic() - since_s < TAKE_OVER_AFTER_S:
            await asyncio.sleep(STANDBY_POLL_S * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, not a secret
            now = await self._writer.read_position()
            if now != seen:
                seen, since_s = now, time.monotonic()
