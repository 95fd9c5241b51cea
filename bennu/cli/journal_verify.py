"""Replays a journal as a follower would, and counts what it finds, for `bennu journal verify`."""

from dataclasses import asdict, dataclass

from bennu.domain.app import App
from bennu.errors import JournalBroken
from bennu.log.port import Log
from bennu.replica.fold import AggregateFold
from bennu.replica.history import Judged, judged
from bennu.replica.journal import Verdict
from bennu.replica.state import ReplicaState
from bennu.v1.journal_pb2 import EpochStart


@dataclass
class Counts:
    """What stands in a journal.  `replayed`: whether the app's rules evolved its events again."""

    topic: str
    records: int = 0
    epochs: int = 0
    batches: int = 0
    entries: int = 0
    events: int = 0
    void: int = 0
    duplicates: int = 0
    state_digests: int = 0
    replayed: bool = False

    def add(self, found: Judged) -> None:
        """Count one record."""
        self.records += 1
        self.void += found.verdict is Verdict.VOID
        self.duplicates += found.verdict is Verdict.DUPLICATE
        if found.verdict is Verdict.EPOCH:
            self.epochs += 1
        elif found.verdict is Verdict.BATCH and not isinstance(found.record, EpochStart):
            self.batches += 1
            self.entries += len(found.record.command_ids)
            self.events += len(found.record.events)
            self.state_digests += bool(found.record.state_digest)

    def as_dict(self) -> dict[str, object]:
        """Plain data."""
        return asdict(self)


async def verify(log: Log, topic: str, app: App | None) -> Counts:
    """Read all of it; with the app of a domain's journal, also replay it.  Raises what is wrong, with topic and offset.

    A saga's journal is judged by its chain alone: its fold belongs to the service.
    """
    counts = Counts(topic, replayed=app is not None and topic.startswith(f"{app.name}-events-"))
    state: ReplicaState | None = None
    async for found in judged(log, topic):
        counts.add(found)
        if app is not None and counts.replayed:
            state = _replay(found, app, state)
    return counts


def _replay(found: Judged, app: App, state: ReplicaState | None) -> ReplicaState | None:
    where = f"{found.position.topic}, offset {found.offset}"
    if found.verdict is Verdict.EPOCH and isinstance(found.record, EpochStart):
        state = state or _blank(found.record, app, found.position.topic)
        state.begin_epoch(found.record, where)
    elif found.verdict is Verdict.BATCH and not isinstance(found.record, EpochStart):
        assert state is not None, "no batch is effective before an epoch"
        state.evolve(found.record, where)
    return state


def _blank(start: EpochStart, app: App, topic: str) -> ReplicaState:
    number = topic.rpartition("-")[2]
    if number != str(start.partition):
        raise JournalBroken(f"{topic}, offset 0: this is the journal of partition {start.partition}")
    return ReplicaState(AggregateFold(app), partition=start.partition, partitions=start.partitions)
