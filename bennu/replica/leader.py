"""Following a journal, taking it over, and leading it: one append in flight while the next batch is built.

A batch is acknowledged if and only if it was read as effective (`fenced.py`).  Whatever is said from memory waits for
the newest batch whose effects it saw: `answer_when_effective` is that one list of waiters, in the order of batches.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple

from bennu.errors import Unavailable
from bennu.limits import DIGEST_EVERY_BATCHES, IDLE_BEFORE_WATCH_MS, RETRY_FIRST_MS
from bennu.log.port import Log, Record
from bennu.replica.batch import OpenBatch
from bennu.replica.chance import system_chance
from bennu.replica.clock import Clock, JournalClock
from bennu.replica.fenced import Deposed, FencedJournal, SteppedDown
from bennu.replica.journal import FORMAT_VERSION, JournalReader, Position, Verdict, encode
from bennu.replica.state import ReplicaState
from bennu.v1.journal_pb2 import EpochStart, EventBatch

Answer = Callable[[int], None]
"""Called with the batch number that made it true."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a process writes into its EpochStart."""

    node: str
    window_count: int
    window_age_ms: int


class Sealing(NamedTuple):
    """When the newest batch was closed, and when its bytes were there, by `perf_counter`."""

    began_s: float
    ended_s: float


class Replica:
    """State and position of one journal in one process; begins as a follower that has read nothing."""

    def __init__(
        self, log: Log, position: Position, state: ReplicaState, *, clock: Clock, chance: random.Random | None = None
    ) -> None:
        """`state` is what the journal says up to `position`: a blank one at the beginning, or a snapshot's."""
        self.log = log
        self.state = state
        self.clock = clock
        self.topic = position.topic
        self._chance = chance or system_chance()
        self.journal = FencedJournal(log, JournalReader(position), self._absorb, chance=self._chance)
        self.leading = False
        self.spoilt = False
        """Memory holds what was not read as effective, and nobody leads with it: it is to be dropped."""
        self.open = OpenBatch(0)
        self._sealed: EventBatch | None = None
        self._busy_s = 0.0
        """When the newest batch was effective, by the event loop's clock; later, once it is watched for others'."""
        self.sealing = Sealing(0.0, 0.0)
        self._waiters: deque[tuple[int, Answer]] = deque()

    @property
    def position(self) -> Position:
        """What has been read as effective."""
        return self.journal.reader.position

    # --- following and taking over

    def _absorb(self, verdict: Verdict, record: EpochStart | EventBatch, where: str) -> None:
        deposed = self.leading
        if deposed and isinstance(record, EpochStart):
            self.step_aside()
        if self.leading or self.spoilt:
            self.spoilt = True
            raise Deposed(f"{where}: another process writes this journal")
        if isinstance(record, EpochStart):
            self.state.begin_epoch(record, where)
        else:
            self.state.evolve(record, where)
        if deposed:
            raise Deposed(f"{where}: another process leads now")

    async def take_over(self, candidate: Candidate, *, named: bool = False) -> None:
        """Read to the end, start the next epoch, read to that; `leading` says whether it was won.

        `named` by the last leader, which leads no more, this process need not look first whether anybody does.
        What was appended since the end was looked for is read between the two.
        Who lost goes on following with what it has, for nothing in it was speculative.  An EpochStart of ours that
        lands only later, its outcome unknown, is then one like any other's: nobody leads by it.
        """
        epoch = self.position.epoch
        while not named and not await self._caught_up():  # noqa: ASYNC110 - what is awaited happens in another process
            await asyncio.sleep(RETRY_FIRST_MS / 1000)
        if self.position.epoch != epoch:
            return
        start = self._epoch_start(candidate)
        try:
            await self.journal.append(encode(start), start)
        except SteppedDown:
            return
        self.state.begin_epoch(start, self.topic)
        self.lead()

    def step_aside(self) -> None:
        """Lead no more.  What is in memory and was not read as effective spoils it: it must be dropped then."""
        self.leading = False
        self.spoilt |= self._sealed is not None or not self.open.blank

    async def _caught_up(self) -> bool:
        """Whether all is read that was there when the log was asked."""
        try:
            _, end = await self.log.bounds(self.topic)
        except Unavailable:
            return False
        if end < self.position.offset:
            await self.journal.read_to_tail()  # which says so when it stays so short
            return False
        await self.journal.read(end)
        return True

    def _epoch_start(self, candidate: Candidate) -> EpochStart:
        return EpochStart(
            format_version=FORMAT_VERSION,
            epoch=self.position.epoch + 1,
            term=self._chance.getrandbits(64),
            node=candidate.node,
            recorded_at_us=max(self.state.recorded_at_us, self.clock.wall_us()),
            partition=self.state.partition,
            partitions=self.state.partitions,
            window_count=candidate.window_count,
            window_age_ms=candidate.window_age_ms,
        )

    def lead(self) -> None:
        """The epoch is ours: begin with an empty batch, the proof for other candidates that somebody leads."""
        self.leading = True
        self._time = JournalClock(self.clock, self.state.recorded_at_us)
        self.open = OpenBatch(self._time.now_us())
        self.open.forced = True

    # --- leading

    @property
    def newest_no(self) -> int:
        """Number of the newest batch that has effects in memory, effective or not."""
        return self.position.batch_no + (self._sealed is not None) + (not self.open.empty)

    def answer_when_effective(self, answer: Answer) -> None:
        """Call `answer` once everything now in memory is effective; at once if it is."""
        newest_no = self.newest_no
        if newest_no <= self.position.batch_no:
            answer(self.position.batch_no)
        else:
            self._waiters.append((newest_no, answer))

    def seal(self) -> tuple[bytes, EventBatch]:
        """Close the open batch and begin the next one; the record to append."""
        began_s = perf_counter()
        position, batch = self.position, self.open.build()
        batch.format_version = FORMAT_VERSION
        batch.epoch, batch.term = position.epoch, position.term
        batch.batch_no, batch.first_seq = position.batch_no + 1, position.next_seq
        batch.prev_digest = position.digest
        if batch.batch_no % DIGEST_EVERY_BATCHES == 0:
            batch.state_digest = self.state.fold.digest()
        self.state.advance(batch)
        self._sealed = batch
        self.open = OpenBatch(self._time.now_us())
        body = encode(batch)
        self.sealing = Sealing(began_s, perf_counter())
        return body, batch

    async def commit(self, body: bytes, batch: EventBatch) -> None:
        """Append what `seal` returned; returns when it is effective, with the answers that waited for it given."""
        await self.journal.append(body, batch)
        self._sealed, self._busy_s = None, asyncio.get_running_loop().time()
        number = self.position.batch_no
        while self._waiters and self._waiters[0][0] <= number:
            self._waiters.popleft()[1](number)

    def tick(self) -> int:
        """Journaled time for what is decided next, in microseconds."""
        opened = self.open
        if not opened.command_ids and opened.empty:
            opened.recorded_at_us = self._time.now_us()
        return opened.recorded_at_us

    async def watch(self) -> Sequence[Record]:
        """What others append; begins once nothing of ours was in flight for a while, and may end with a record of ours.

        It waits beside appends and is not begun again for each, which took 40 us.
        """
        now_s, idle_s = asyncio.get_running_loop().time, IDLE_BEFORE_WATCH_MS / 1000
        self._busy_s = max(self._busy_s, now_s())
        while self._sealed is not None or now_s() < self._busy_s + idle_s:  # noqa: ASYNC110 - a timer for each append
            await asyncio.sleep(idle_s)
        async with aclosing(self.log.read(self.topic, self.position.offset)) as chunks:
            async for chunk in chunks:
                return chunk
        return ()

    def take(self, chunk: Sequence[Record]) -> None:
        """Judge what `watch` returned; raises `Deposed` if another process leads."""
        for offset, body in chunk:
            if offset >= self.position.offset:
                self.journal.take(offset, body, b"" if self.leading else None)
