"""Writes legal journals for tests of those who read them: epochs and batches, chained as a leader would."""

from collections.abc import Sequence
from typing import NamedTuple

from google.protobuf.message import Message

from bennu.log.port import Log
from bennu.replica.journal import FORMAT_VERSION, Position, digest_of, encode
from bennu.v1.command_pb2 import Origin
from bennu.v1.journal_pb2 import EpochStart, EventBatch

ACTOR = "tester"


class Entry(NamedTuple):
    """One command and the events it led to."""

    command_id: str
    events: Sequence[Message]


class JournalWriter:
    """Appends to one partition's journal; `position` is where a reader stands who has read all of it."""

    def __init__(self, log: Log, topic: str, *, partition: int = 0, partitions: int = 1) -> None:
        self._log = log
        self._partition = partition
        self._partitions = partitions
        self.position = Position(topic)

    async def epoch(
        self, term: int = 0xFEDCBA9876543210, *, recorded_at_us: int = 0, window: tuple[int, int] = (0, 0)
    ) -> None:
        """The next epoch begins; `window` of replies: how many, and for how many milliseconds."""
        start = EpochStart(
            format_version=FORMAT_VERSION,
            epoch=self.position.epoch + 1,
            term=term,
            node="test",
            recorded_at_us=recorded_at_us,
            partition=self._partition,
            partitions=self._partitions,
            window_count=window[0],
            window_age_ms=window[1],
        )
        await self.append(encode(start))
        self.position = self.position._replace(epoch=start.epoch, term=term)

    async def batch(self, entries: Sequence[Entry], *, recorded_at_us: int) -> bytes:
        """The next batch; its bytes."""
        return await self.take(self.build(entries, recorded_at_us=recorded_at_us))

    async def take(self, batch: EventBatch) -> bytes:
        """Append what `build` made; its bytes."""
        body = encode(batch)
        await self.append(body)
        last = self.position
        self.position = last._replace(
            batch_no=last.batch_no + 1, next_seq=last.next_seq + len(batch.events), digest=digest_of(body)
        )
        return body

    async def append(self, body: bytes) -> None:
        """Any record, legal or not."""
        offset = await self._log.append(self.position.topic, body)
        self.position = self.position._replace(offset=offset + 1)

    def build(self, entries: Sequence[Entry], *, recorded_at_us: int) -> EventBatch:
        """The next batch, not yet written."""
        events = [event for entry in entries for event in entry.events]
        types = list(dict.fromkeys(event.DESCRIPTOR.full_name for event in events))
        return EventBatch(
            format_version=FORMAT_VERSION,
            epoch=self.position.epoch,
            term=self.position.term,
            batch_no=self.position.batch_no + 1,
            first_seq=self.position.next_seq,
            prev_digest=self.position.digest,
            recorded_at_us=recorded_at_us,
            event_types=types,
            command_types=["test.Command"],
            origins=[Origin(actor=ACTOR)],
            command_ids=[entry.command_id for entry in entries],
            payload_digests=bytes(16 * len(entries)),
            command_type_indexes=[0] * len(entries),
            event_counts=[len(entry.events) for entry in entries],
            outcomes=[0] * len(entries),
            event_type_indexes=[types.index(event.DESCRIPTOR.full_name) for event in events],
            events=[event.SerializeToString() for event in events],
        )
