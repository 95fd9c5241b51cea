"""The port under everything: an append-only log of records, read by offset.

Order and durability, for every adapter (held to it by `tests/log/conformance.py`):

* `append` returns the record's offset, and only after the record is durable.
* The records of a topic have contiguous offsets; every reader sees the same ones in the same order.
* Records appended one after another by one caller stand in that order.  A caller keeps one append in
  flight per topic; two writers may interleave.
* `read` starts at exactly the offset asked for, never skips, never repeats, and waits at the tail for ever.
  A peer that goes away is waited for (with backoff, a line in the log at first and then each 10 s).
"""

from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple, Protocol

MAX_RECORD_BYTES = 4 * 1024 * 1024
"""A record of exactly this size is taken; one byte more is refused, and so is an empty one."""


class Record(NamedTuple):
    """One record as it stands in the log."""

    offset: int
    body: bytes


class Log(Protocol):
    """A set of topics.  Made and closed by `bennu.log.open(url)`, an async context manager.

    Topic names match `[A-Za-z0-9_-]{1,100}`; another one raises `BadSettings`.
    """

    async def create(self, topic: str) -> None:
        """Make the topic if it is not there (idempotent).  Raises `Unavailable`."""

    async def bounds(self, topic: str) -> tuple[int, int]:
        """(first offset kept, next offset to be written); equal when empty.

        A broker counts a record some milliseconds after it said that it was appended.
        Raises `TopicMissing`, or `Unavailable` after a few seconds without an answer.
        """

    async def append(self, topic: str, record: bytes, *, timeout_ms: int = 3000) -> int:
        """Write one record; its offset, once durable.

        Raises `AppendRefused` (certainly not written; `final=True` when the record itself is at fault: empty
        or over `MAX_RECORD_BYTES`, or the topic is missing or forbidden) or `AppendUnknown` (deadline, lost
        connection, flush timeout: it may be in the log now or land later).  Nothing else, whatever happens.
        Cancelled while waiting: the outcome is unknown too.
        """

    def read(self, topic: str, offset: int) -> AsyncGenerator[Sequence[Record], None]:
        """Chunks (never empty) of contiguous records from `offset` on; waits at the tail.

        An async generator: close it (`aclosing`) to stop.  Raises `TopicMissing`, `OffsetGone`, `OffsetBeyondTail`
        (offset > next; equal to next is the tail) or `RecordBroken` (checksum); never for a peer that is away.
        """
