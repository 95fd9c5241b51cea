"""What the journals of an app say in the end: which commands count, with which replies, and which came too late."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from bennu.domain.app import App
from bennu.log.port import Log
from bennu.replica.cold import ColdReplay
from bennu.replica.columns import DIGEST_BYTES
from bennu.replica.history import Judged, judged
from bennu.replica.journal import Position, Verdict
from bennu.v1.journal_pb2 import EventBatch


class Entry(NamedTuple):
    """A command in an effective batch."""

    topic: str
    batch_no: int
    digest: bytes
    """Of the command's type and payload."""
    outcome: int
    reply: bytes
    """The reply message, or the bennu.v1.Rejection."""
    events: int


@dataclass
class Journal:
    """One partition's."""

    topic: str
    replay: ColdReplay
    entries: dict[str, list[Entry]] = field(default_factory=dict)
    """By command id; more than one is a double effect."""
    batches: list[EventBatch] = field(default_factory=list)
    void: set[str] = field(default_factory=set)
    """Commands in batches of a leader whose time was over."""
    end: Position = field(default_factory=lambda: Position(""))

    def take(self, found: Judged) -> None:
        """The next record.  Raises what a cold replay raises."""
        self.replay.take(found)
        self.end = found.position
        if not isinstance(found.record, EventBatch):
            return
        if found.verdict is Verdict.VOID:
            self.void.update(found.record.command_ids)
        if found.verdict is Verdict.BATCH:
            self.batches.append(found.record)
            for command_id, entry in entries_of(self.topic, found.record):
                self.entries.setdefault(command_id, []).append(entry)


def entries_of(topic: str, batch: EventBatch) -> Iterator[tuple[str, Entry]]:
    """The commands of a batch with what it says of each."""
    events, replies, first = list(batch.events), iter(batch.replies), 0
    columns = zip(batch.command_ids, batch.event_counts, batch.outcomes, strict=True)
    for number, (command_id, count, outcome) in enumerate(columns):
        digest = batch.payload_digests[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES]
        reply = next(replies) if outcome else events[first]
        yield command_id, Entry(topic, batch.batch_no, digest, outcome, reply, count)
        first += count


async def read_journal(log: Log, app: App, number: int) -> Journal:
    """All of a partition's journal, replayed.  Raises `JournalBroken`, `RecordBroken` and `Diverged`."""
    journal = Journal(f"{app.name}-events-{number}", ColdReplay(app))
    async for found in judged(log, journal.topic):
        journal.take(found)
    return journal
