"""The one loop of QServer: a partition's journal into one projection's tables.

    read → is it effective? → rules → row changes, merged per key → one transaction: position, then rows

The position is compared and set by the transaction's first statement, so rows are written exactly once whatever
crashes, is retried, or runs twice.  Whoever finds the position moved by another projector stands by, and goes on only
when that one has stopped moving it.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import NoReturn

import structlog

from bennu.errors import BadSettings
from bennu.log.port import Log, Record
from bennu.ops.metrics import Metrics
from bennu.replica.journal import JournalReader, Position, Verdict
from bennu.v1.journal_pb2 import EpochStart, EventBatch
from bennu_qserver import notices, positions
from bennu_qserver.database import Connection, Database, execute
from bennu_qserver.dispatch import CompiledProjection
from bennu_qserver.errors import PositionMoved
from bennu_qserver.lag import NO_LAG, Lag, Waiting
from bennu_qserver.limits import STANDBY_POLL_S, TAKE_OVER_AFTER_S, TRANSACTION_CHANGES
from bennu_qserver.pending import Pending
from bennu_qserver.positions import Place
from bennu_qserver.rows import RowChanges, Write
from bennu_qserver.status import FOLLOWING, STANDBY, STARTING, Board, Gauges

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
        self._saved = Position(partition.topic)
        self._pending = self._new_pending()
        self._writing_since_s = 0.0
        self._waiting = Waiting()
        outside.board.set(self.place, STARTING)

    async def run(self) -> NoReturn:
        """Project for ever.  Raises the `Final` errors of the log, the journal and the rules."""
        while True:
            self._saved = await self._outside.database.run(self._load)
            self._pending, self._writing_since_s = self._new_pending(), 0.0
            self._waiting = Waiting()
            self._outside.board.set(self.place, FOLLOWING)
            logger.info("projecting", place=str(self.place), offset=self._saved.offset)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._read())
                    group.create_task(self._write())
            except* PositionMoved as moved:
                self._gauges.moved.inc()
                logger.warning("standing by", place=str(self.place), reason=str(moved.exceptions[0]))
            self._outside.board.set(self.place, STANDBY)
            await self._stand_by()

    def sample(self, tail: int) -> Lag:
        """How far the projection is behind a journal whose next offset is `tail`; shown as metrics, too."""
        events = self._pending.work.position.next_seq - self._saved.next_seq
        age_ms = self._waiting.age_ms(self._saved.offset, time.time())
        lag = Lag(max(0, tail - self._saved.offset), events, age_ms)
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
        """How long the oldest row change that was read waits to be written."""
        since_s = self._writing_since_s or self._pending.work.since_s
        return time.monotonic() - since_s if since_s else 0.0

    def _new_pending(self) -> Pending:
        return Pending(self._saved, self._new_rows, most_changes=self._outside.most_changes)

    def _new_rows(self) -> RowChanges:
        return RowChanges(self._projection.statements, self._partition.topic)

    async def _load(self, connection: Connection) -> Position:
        partition = self._partition
        return await positions.load(connection, self.place, topic=partition.topic, partitions=partition.count)

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
            self._check_partition(said, where)
        elif verdict is Verdict.BATCH and isinstance(said, EventBatch):
            work = self._pending.work
            self._projection.apply(said, work.rows, partition=self._partition.number, where=where)
            self._waiting.read(record.offset, said.recorded_at_us)
        self._pending.advanced(reader.position, size=len(record.body))

    def _check_partition(self, start: EpochStart, where: str) -> None:
        ours = self._partition
        if (start.partition, start.partitions) != (ours.number, ours.count):
            raise BadSettings(
                f"{where}: the journal is of partition {start.partition} of {start.partitions}, "
                f"read as partition {ours.number} of {ours.count}"
            )

    # --- writing

    async def _write(self) -> NoReturn:
        while True:
            work = await self._pending.take()
            self._writing_since_s = work.since_s
            if self._outside.give_way is not None:
                await self._outside.give_way()
            began_s = time.monotonic()
            writes = list(work.rows.writes())
            await self._commit(work.position, writes)
            events = work.position.next_seq - self._saved.next_seq
            self._saved, self._writing_since_s = work.position, 0.0
            self._gauges.committed(work, writes, events=events, seconds=time.monotonic() - began_s)

    async def _commit(self, position: Position, writes: Sequence[Write]) -> None:
        """Write position and rows.  Raises `PositionMoved`."""
        attempts = 0

        async def transaction(connection: Connection) -> None:
            nonlocal attempts
            attempts += 1
            await positions.move(connection, self.place, old=self._saved, new=position)
            for write in writes:
                await execute(connection, write)
            await notices.tell(connection, self.place, writes, batch_no=position.batch_no)

        try:
            await self._outside.database.run(transaction)
        except PositionMoved:
            # An earlier attempt of ours may have been committed, though the connection broke before we heard of it.
            if attempts < 2 or await self._read_position() != position:
                raise

    async def _read_position(self) -> Position:
        return await self._outside.database.run(lambda connection: positions.read(connection, self.place))

    async def _stand_by(self) -> None:
        """Return when nobody has moved the position for a while."""
        seen, since_s = await self._read_position(), time.monotonic()
        while time.monotonic() - since_s < TAKE_OVER_AFTER_S:
            await asyncio.sleep(STANDBY_POLL_S * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, not a secret
            now = await self._read_position()
            if now != seen:
                seen, since_s = now, time.monotonic()
