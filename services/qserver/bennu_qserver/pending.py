"""What was read and is not yet written: gathered while the transaction before it runs.

So a projection that keeps up writes each batch at once, and one that is behind writes many in one transaction.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from bennu.replica.journal import Position
from bennu_qserver.limits import EMPTY_ADVANCE_MS, TRANSACTION_BYTES, TRANSACTION_CHANGES
from bennu_qserver.rows import RowChanges


@dataclass
class Work:
    """The content of one transaction."""

    rows: RowChanges
    position: Position
    """Where the projection stands once this is written."""
    bytes: int = 0
    since_s: float = 0.0
    """Since when the first of its row changes waits, by the monotonic clock; 0: there is none."""


class Pending:
    """Between the one who reads and the one who writes; holds at most one transaction's work."""

    def __init__(
        self, position: Position, new_rows: Callable[[], RowChanges], *, most_changes: int = TRANSACTION_CHANGES
    ) -> None:
        self._new_rows = new_rows
        self._most_changes = most_changes
        self.work = Work(new_rows(), position)
        self._moved = asyncio.Event()
        self._changed = asyncio.Event()
        self._space = asyncio.Event()
        self._space.set()

    async def room(self) -> None:
        """Return when `work` may take another batch."""
        await self._space.wait()

    def advanced(self, position: Position, *, size: int) -> None:
        """The reader has put a record into `work`."""
        self.work.position = position
        self.work.bytes += size
        self._moved.set()
        if self.work.rows:
            self._changed.set()
            self.work.since_s = self.work.since_s or time.monotonic()
        if self.work.rows.changes >= self._most_changes or self.work.bytes >= TRANSACTION_BYTES:
            self._space.clear()

    async def take(self) -> Work:
        """What there is, once there is something; without row changes only after a while."""
        await self._moved.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(EMPTY_ADVANCE_MS / 1000):
                await self._changed.wait()
        work = self.work
        self.work = Work(self._new_rows(), work.position)
        self._moved.clear()
        self._changed.clear()
        self._space.set()
        return work
