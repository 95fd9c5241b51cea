"""Appending to a journal so that "done" means: read as effective.

The same bytes are sent until the one function of `journal.py` has called them effective, or has shown that another
leads.  A receipt for exactly the next offset spares the reading; any other outcome is settled by reading the gap.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import aclosing

from bennu.errors import AppendRefused, AppendUnknown, BennuError, Final, OffsetBeyondTail, Unavailable
from bennu.limits import APPEND_TIMEOUT_MS, RESOLVE_TIMEOUT_MS, RETRY_FIRST_MS, RETRY_MAX_MS, TAIL_LOST_AFTER_MS
from bennu.log.port import Log
from bennu.replica.journal import JournalReader, Verdict, decode
from bennu.v1.journal_pb2 import EpochStart, EventBatch

Absorb = Callable[[Verdict, EpochStart | EventBatch, str], None]
"""Called with each record read that is not the one being appended; `str` says where it stands."""


class SteppedDown(BennuError):
    """This process no longer leads, or can't prove that it does.  All of its memory is to be dropped."""


class Deposed(SteppedDown):
    """Another candidate's EpochStart is effective."""


class Unresolved(SteppedDown):
    """An append's outcome could not be settled in bounded time."""


class FencedJournal:
    """One journal, followed and appended to.  `reader.position` is what has been read as effective."""

    def __init__(self, log: Log, reader: JournalReader, absorb: Absorb, *, chance: random.Random) -> None:
        self._log = log
        self._absorb = absorb
        self._chance = chance
        self.reader = reader
        self.topic = reader.position.topic
        self._short_since_s: float | None = None

    async def append(self, body: bytes, record: EpochStart | EventBatch) -> None:
        """Return once `body` is effective.  Raises `Deposed`, `Unresolved`, or `Final` errors of log and journal."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + RESOLVE_TIMEOUT_MS / 1000
        wait_ms = RETRY_FIRST_MS
        while loop.time() < give_up_at:
            if await self._attempt(body, record):
                return
            await asyncio.sleep(wait_ms / 1000 * (0.5 + self._chance.random()))
            wait_ms = min(2 * wait_ms, RETRY_MAX_MS)
        raise Unresolved(f"{self.topic}: an append stayed without a known outcome for {RESOLVE_TIMEOUT_MS} ms")

    async def _attempt(self, body: bytes, record: EpochStart | EventBatch) -> bool:
        """Send once, read what there is to read; whether it is effective."""
        try:
            offset = await self._log.append(self.topic, body, timeout_ms=APPEND_TIMEOUT_MS)
        except AppendRefused as error:
            if error.final:
                raise Final(f"{self.topic}: the log will not take a record: {error}") from error
            return await self.read_to_tail(own=body)  # an earlier attempt may have landed meanwhile
        except AppendUnknown:
            return await self.read_to_tail(own=body)
        expected = self.reader.position.offset
        if offset < expected:
            raise OffsetBeyondTail(
                f"{self.topic}: a record was written at offset {offset}, but {expected} was already read; "
                "the log lost its end: restore it before starting again"
            )
        if offset == expected:
            return self.reader.judge(offset, record, body) in (Verdict.EPOCH, Verdict.BATCH)
        return await self.read(offset + 1, own=body)

    async def read_to_tail(self, own: bytes | None = None) -> bool:
        """Read all there is now; whether `own` is effective.  A peer that is away is nothing read."""
        try:
            _, end = await self._log.bounds(self.topic)
        except Unavailable:
            return False
        if end < self.reader.position.offset:
            self._short_of(end)
            return False
        self._short_since_s = None
        return await self.read(end, own=own)

    def _short_of(self, end: int) -> None:
        """Raise `OffsetBeyondTail` if it stays so short: a broker that has just started may say so for a moment."""
        now_s = asyncio.get_running_loop().time()
        if self._short_since_s is None:
            self._short_since_s = now_s
        if now_s - self._short_since_s >= TAIL_LOST_AFTER_MS / 1000:
            raise OffsetBeyondTail(f"{self.topic}: ends at offset {end}, but {self.reader.position.offset} was read")

    async def read(self, end: int, own: bytes | None = None) -> bool:
        """Read up to `end`; whether `own` was among it and effective."""
        found = False
        if self.reader.position.offset >= end:
            return found
        async with aclosing(self._log.read(self.topic, self.reader.position.offset)) as chunks:
            async for chunk in chunks:
                for offset, body in chunk:
                    found |= self.take(offset, body, own)
                if self.reader.position.offset >= end:
                    break
        return found

    def take(self, offset: int, body: bytes, own: bytes | None) -> bool:
        """Judge one record; whether it is `own`, now effective.  `Deposed` if another's epoch stands in its place."""
        record = decode(body, where=f"{self.topic}, offset {offset}")
        before = self.reader.position
        verdict = self.reader.judge(offset, record, body)
        if verdict in (Verdict.VOID, Verdict.DUPLICATE):
            return False
        if body == own:
            return True
        try:
            self._absorb(verdict, record, f"{self.topic}, offset {offset}")  # also for a candidate that lost
        except Final:
            self.reader.position = before  # what could not be applied has not been read
            raise
        if own is not None and verdict is Verdict.EPOCH:
            raise Deposed(f"{self.topic}: epoch {self.reader.position.epoch} began at offset {offset}; another leads")
        return False
