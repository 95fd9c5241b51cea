"""What was read and is not yet written: gathered while the transaction before it runs.

So a projection that keeps up writes each batch at once, and one that is behind writes many in one transaction.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from bennu.replica.journal import Position
from bennu.v1.journal_pb2 import EventBatch
from bennu_qserver.dispatch import CompiledProjection
from bennu_qserver.errors import EventFault
from bennu_qserver.events import project
from bennu_qserver.limits import EMPTY_ADVANCE_MS, TRANSACTION_BYTES, TRANSACTION_CHANGES, TRANSACTION_DAYS
from bennu_qserver.parked import Parked
from bennu_qserver.pieces import DAY_US
from bennu_qserver.rows import RowChanges, Write
from bennu_qserver.trial import Keyed


@dataclass
class Work:
    """The content of one transaction."""

    rows: RowChanges
    position: Position
    """Where the projection stands once this is written."""
    parked: Parked
    """The keys whose events go `aside`."""
    aside: list[Keyed] = field(default_factory=list)
    batches: list[tuple[EventBatch, str]] = field(default_factory=list)
    """All of it as it was read, and where: to be done again, event by event, if it can't be written as a whole."""
    ends: list[Position] = field(default_factory=list)
    """Where the projection stands after each of them."""
    spoilt: bool = False
    """A rule raised, so `rows` are no use: a part of an event's changes may be among them."""
    bytes: int = 0
    events: int = 0
    days: set[int] = field(default_factory=set)
    since_s: float = 0.0
    """Since when the first of its changes waits, by the monotonic clock; 0: there is none."""
    _writes: list[Write] | None = None
    _making: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def changes_tables(self) -> bool:
        return bool(self.rows or self.aside or self.spoilt)

    def is_full(self, most_changes: int) -> bool:
        is_long = max(self.rows.changes, self.events) >= most_changes or self.bytes >= TRANSACTION_BYTES
        return is_long or len(self.days) >= TRANSACTION_DAYS

    def take(self, batch: EventBatch, projection: CompiledProjection, *, partition: int, where: str) -> None:
        """Add a batch.  Raises `RecordBroken` for what can't be understood."""
        self.batches.append((batch, where))
        self.days.add(batch.recorded_at_us // DAY_US)
        if self.spoilt:
            self.events += len(batch.events)
            return
        keys = self.parked.last_seqs
        try:
            for event in projection.events(batch, partition=partition, where=where):
                self.events += 1
                if keys and (key := event.key) in keys:
                    self.aside.append((event, key))
                else:
                    project(event, self.rows)
        except EventFault:
            self.spoilt = True

    async def writes(self) -> list[Write] | None:
        """Its statements, made once: nothing can be added any more.  None if it is `spoilt`.

        Made in small steps: meanwhile Postgres may have come to the next statement of the transaction before.
        """
        async with self._making:
            if self._writes is None and not self.spoilt:
                try:
                    self._writes = [write async for write in _in_steps(self.rows.writes())]
                except EventFault:
                    self.spoilt = True
            return self._writes

    def again(self, projection: CompiledProjection, *, partition: int) -> Iterator[Keyed]:
        """All of its events, from the first one."""
        for batch, where in self.batches:
            for event in projection.events(batch, partition=partition, where=where):
                yield event, event.key

    def halves(
        self, new_work: Callable[[Position], "Work"], projection: CompiledProjection, *, partition: int
    ) -> Iterator["Work"]:
        """The same as two transactions; the second is made when the first is written, since that may park keys."""
        middle = len(self.batches) // 2
        for batches, ends, end in (
            (self.batches[:middle], self.ends[:middle], self.ends[middle - 1]),
            (self.batches[middle:], self.ends[middle:], self.position),
        ):
            half = new_work(end)
            for batch, where in batches:
                half.take(batch, projection, partition=partition, where=where)
            half.ends = ends
            yield half


async def _in_steps(writes: Iterator[Write]) -> AsyncIterator[Write]:
    for write in writes:
        yield write
        await asyncio.sleep(0)


class Pending:
    """Between the one who reads and the one who writes; holds at most one transaction's work."""

    def __init__(
        self, position: Position, new_work: Callable[[Position], Work], *, most_changes: int = TRANSACTION_CHANGES
    ) -> None:
        self._new_work = new_work
        self._most_changes = most_changes
        self.work = new_work(position)
        self._moved = asyncio.Event()
        self._changed = asyncio.Event()
        self._space = asyncio.Event()
        self._space.set()

    async def room(self) -> None:
        """Return when `work` may take another batch; one that is full is made ready for Postgres meanwhile."""
        if not self._space.is_set():
            await self.work.writes()
            await self._space.wait()

    def advanced(self, position: Position, *, size: int) -> None:
        """The reader has put a record into `work`."""
        self.work.position = position
        if len(self.work.ends) < len(self.work.batches):
            self.work.ends.append(position)
        self.work.bytes += size
        self._moved.set()
        if self.work.changes_tables:
            self._changed.set()
            self.work.since_s = self.work.since_s or time.monotonic()
        if self.work.is_full(self._most_changes):
            self._space.clear()

    async def take(self) -> Work:
        """What there is, once there is something; without row changes only after a while."""
        await self._moved.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(EMPTY_ADVANCE_MS / 1000):
                await self._changed.wait()
        work = self.work
        self.work = self._new_work(work.position)
        self._moved.clear()
        self._changed.clear()
        self._space.set()
        return work
