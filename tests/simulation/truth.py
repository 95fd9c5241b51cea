"""What a journal says, defined over the whole log at once and without the code under test.

Epoch e reigns from the first EpochStart(e) after the beginning of epoch e-1 to the beginning of epoch e+1.  Batch n is
the first record after batch n-1 that has the number n and the epoch and term that reign where it stands.
"""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

from bennu.v1.journal_pb2 import EpochStart, EventBatch, JournalRecord


class Violation(AssertionError):
    """An invariant does not hold."""


class Entry(NamedTuple):
    """A decided command.  `events` are (type, bytes); `reply` is empty if the first event is it."""

    offset: int
    recorded_at_us: int
    command_id: str
    digest: bytes
    type_name: str
    outcome: int
    reply: bytes
    events: Sequence[tuple[str, bytes]]

    @property
    def answer(self) -> bytes:
        """What the client is told."""
        return self.reply if self.outcome else self.events[0][1]


class Effective(NamedTuple):
    """An effective batch and where it stands."""

    offset: int
    batch: EventBatch
    entries: Sequence[Entry]


class Truth(NamedTuple):
    """The effective history of one journal."""

    starts: Sequence[tuple[int, EpochStart]]
    batches: Sequence[Effective]

    def entries(self) -> Iterator[Entry]:
        """All of them, in order."""
        for effective in self.batches:
            yield from effective.entries


def require(condition: bool, invariant: str, message: str) -> None:
    """Raise `Violation`, naming the invariant of the list."""
    if not condition:
        raise Violation(f"{invariant}: {message}")


def truth_of(bodies: Sequence[bytes]) -> Truth:
    """Raises `Violation` (I4) when the effective log is not one chain."""
    records = [JournalRecord.FromString(body) for body in bodies]
    starts = _reigns(records)
    batches: list[Effective] = []
    head, seq = b"", 1
    for offset in _effective_offsets(records, starts):
        batch = records[offset].batch
        require(batch.prev_digest == head, "I4", f"offset {offset}: batch {batch.batch_no} breaks the digest chain")
        require(batch.first_seq == seq, "I4", f"offset {offset}: events begin at {batch.first_seq}, not {seq}")
        if batches:
            before = batches[-1].batch.recorded_at_us
            require(batch.recorded_at_us >= before, "I4", f"offset {offset}: journaled time goes back")
        batches.append(Effective(offset, batch, list(_entries(offset, batch))))
        head, seq = blake2b(bodies[offset], digest_size=16).digest(), seq + len(batch.events)
    return Truth(starts, batches)


def _reigns(records: Sequence[JournalRecord]) -> list[tuple[int, EpochStart]]:
    found: list[tuple[int, EpochStart]] = []
    for offset, record in enumerate(records):
        if record.WhichOneof("record") == "epoch_start" and record.epoch_start.epoch > len(found):
            epoch = record.epoch_start.epoch
            require(epoch == len(found) + 1, "I4", f"offset {offset}: epoch {epoch} follows epoch {len(found)}")
            found.append((offset, record.epoch_start))
    return found


def _effective_offsets(records: Sequence[JournalRecord], starts: Sequence[tuple[int, EpochStart]]) -> Iterator[int]:
    bounds = [offset for offset, _ in starts[1:]] + [len(records)]
    number = 1
    for (begin, start), end in zip(starts, bounds, strict=True):
        for offset in range(begin, end):
            batch = records[offset].batch
            if (batch.epoch, batch.term) != (start.epoch, start.term):
                continue
            require(batch.batch_no <= number, "I4", f"offset {offset}: batch {batch.batch_no}, but {number} is missing")
            if batch.batch_no == number:
                yield offset
                number += 1


def _entries(offset: int, batch: EventBatch) -> Iterator[Entry]:
    replies, at = iter(batch.replies), 0
    events = [
        (batch.event_types[index], raw) for index, raw in zip(batch.event_type_indexes, batch.events, strict=True)
    ]
    require(sum(batch.event_counts) == len(events), "I4", f"offset {offset}: event_counts do not add up")
    for i, command_id in enumerate(batch.command_ids):
        count, outcome = batch.event_counts[i], batch.outcomes[i]
        yield Entry(
            offset,
            batch.recorded_at_us,
            command_id,
            batch.payload_digests[16 * i : 16 * i + 16],
            batch.command_types[batch.command_type_indexes[i]],
            outcome,
            next(replies) if outcome else b"",
            events[at : at + count],
        )
        at += count
