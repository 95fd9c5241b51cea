"""Replays a journal as a follower would, and counts what it finds, for `bennu journal verify`."""

from dataclasses import dataclass, field, fields

from bennu.cli.journal_types import Types
from bennu.domain.app import App
from bennu.errors import Diverged
from bennu.log.port import Log
from bennu.replica.cold import ColdReplay
from bennu.replica.columns import check_columns
from bennu.replica.history import Judged, judged
from bennu.replica.journal import Verdict
from bennu.replica.state import ReplicaState
from bennu.v1.journal_pb2 import EventBatch


@dataclass
class Counts:
    """What stands in a journal.  `replayed`: whether the app's rules evolved its events again."""

    topic: str
    types: Types
    records: int = 0
    epochs: int = 0
    batches: int = 0
    entries: int = 0
    events: int = 0
    void: int = 0
    duplicates: int = 0
    state_digests: int = 0
    digests_agreed: int = 0
    digests_of_another_form: int = 0
    replayed: bool = False
    lacks: list[str] = field(default_factory=list)
    """What this build does not know, and so can't replay it or lead it."""

    def add(self, found: Judged) -> None:
        """Count one record."""
        self.records += 1
        self.void += found.verdict is Verdict.VOID
        self.duplicates += found.verdict is Verdict.DUPLICATE
        self.epochs += found.verdict is Verdict.EPOCH
        if found.verdict is Verdict.BATCH and isinstance(found.record, EventBatch):
            check_columns(found.record, found.where)
            self.batches += 1
            self.entries += len(found.record.command_ids)
            self.events += len(found.record.events)
            self.state_digests += bool(found.record.state_digest)
            self.types.add(found.record, found.offset)

    def end(self, state: ReplicaState | None) -> None:
        """All is read; `state` is what replay made of it."""
        self.lacks = list(self.types.lacks())
        self.replayed = self.replayed and not self.lacks
        if state is not None:
            self.digests_agreed, self.digests_of_another_form = state.agreement.compared, state.agreement.foreign

    def as_dict(self) -> dict[str, object]:
        """Plain data."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return found | {"types": self.types.as_dict()}


async def verify(log: Log, topic: str, app: App | None) -> Counts:
    """Read all of it; with the app of a domain's journal, also replay it.  Raises what is wrong, with topic and offset.

    What this build does not know ends the replay, not the reading: all of it is counted.  A saga's journal is judged by
    its chain, its types and the sagas under way: its fold belongs to the service.
    """
    mine = app is not None and topic.startswith(f"{app.name}-events-")
    of_saga = "-saga-" in topic and (app is None or topic.startswith(f"{app.name}-saga-"))
    counts = Counts(topic, Types(app if mine or of_saga else None, of_saga), replayed=mine)
    replay = ColdReplay(app) if app is not None and mine else None
    differs: Diverged | None = None
    async for found in judged(log, topic):
        counts.add(found)
        if replay is not None and not differs and not counts.types.unknown:
            try:
                replay.take(found)
            except Diverged as problem:
                differs = problem
    if differs:  # only now: a record that was spoilt breaks the chain as well, and that says more
        raise differs
    counts.end(replay.state if replay else None)
    return counts
