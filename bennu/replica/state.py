"""What a replica holds in memory: positions, cursors, the reply window, and the domain's own state."""

from collections.abc import Iterator
from typing import Protocol

from bennu.errors import BadSettings, Diverged
from bennu.replica.columns import check_columns
from bennu.replica.window import ReplyWindow
from bennu.v1.journal_pb2 import EpochStart, EventBatch, Outcome
from bennu.v1.position_pb2 import LogPosition


class Fold(Protocol):
    """The domain's part: CServer's aggregates, or Saga's sagas."""

    def apply(self, batch: EventBatch, where: str) -> None:
        """Evolve by the batch's events.  Raises `RecordBroken`, beginning with `where`, for an unknown type."""

    def digest(self, batch: EventBatch) -> bytes:
        """Digest of the states that the batch's events touch, as they are now."""


class ReplicaState:
    """Everything that replay rebuilds.  `fold` is the domain's part."""

    def __init__(self, fold: Fold, *, partition: int, partitions: int) -> None:
        self.fold = fold
        self.partition = partition
        self.partitions = partitions
        self.recorded_at_us = 0
        self.window = ReplyWindow()
        self.inputs: dict[str, LogPosition] = {}
        self.sources: dict[str, int] = {}
        self.outboxes: dict[str, int] = {}

    def begin_epoch(self, start: EpochStart, where: str) -> None:
        """Take over what an effective EpochStart fixes."""
        if (start.partition, start.partitions) != (self.partition, self.partitions):
            raise BadSettings(
                f"{where}: this journal is partition {start.partition} of {start.partitions}, but this process was "
                f"told that it is {self.partition} of {self.partitions}; the number of partitions is fixed at "
                f"creation: say --partitions {start.partitions}"
            )
        self.recorded_at_us = max(self.recorded_at_us, start.recorded_at_us)
        self.window.count = start.window_count
        self.window.age_us = start.window_age_ms * 1000

    def evolve(self, batch: EventBatch, where: str) -> None:
        """Apply an effective batch.  Raises `RecordBroken`, or `Diverged` when its state digest is not ours."""
        check_columns(batch, where)
        self.fold.apply(batch, where)
        if batch.state_digest and self.fold.digest(batch) != batch.state_digest:
            raise Diverged(
                f"{where}: after batch {batch.batch_no} this replica's state differs from the journal's digest; "
                "a rule reads a clock, draws a random number or changes state in `decide`, or the code has changed"
            )
        self.window.add_batch(batch.command_ids, _kept(batch))
        self.advance(batch)

    def advance(self, batch: EventBatch) -> None:
        """Positions, cursors and time; for the leader, whose domain state is already there."""
        self.recorded_at_us = batch.recorded_at_us
        self.window.end_batch(batch.recorded_at_us)
        for position in batch.inputs:
            self.inputs[position.topic] = position
        for cursor in batch.sources:
            self.sources[cursor.stream] = cursor.last_no
        for cursor in batch.outboxes:
            self.outboxes[cursor.stream] = cursor.last_no

    def input_offset(self, topic: str) -> int:
        """Where to read this input log from."""
        position = self.inputs.get(topic)
        return position.offset if position else 0


def _kept(batch: EventBatch) -> Iterator[bytes]:
    """The replies of a batch as the window keeps them."""
    digests, events = batch.payload_digests, batch.events
    replies = iter(batch.replies)
    first = at = 0
    for count, outcome in zip(batch.event_counts, batch.outcomes, strict=True):
        reply = events[first] if outcome == Outcome.OUTCOME_UNSPECIFIED else next(replies)
        yield b"%b%c%b" % (digests[at : at + 16], outcome, reply)
        first += count
        at += 16
