"""A cold replay: what a journal of a domain leads to, from its first record.  It arbitrates between replicas."""

from bennu.domain.app import App
from bennu.errors import JournalBroken
from bennu.replica.fold import AggregateFold
from bennu.replica.history import Judged
from bennu.replica.journal import Verdict
from bennu.replica.state import ReplicaState
from bennu.v1.journal_pb2 import EpochStart


class ColdReplay:
    """Memory that has read nothing yet.  `state` is None until an epoch began."""

    def __init__(self, app: App) -> None:
        self.fold = AggregateFold(app)
        self.state: ReplicaState | None = None

    def take(self, found: Judged) -> None:
        """The next record of `judged`.  Raises `RecordBroken`, `UnknownToBuild`, `JournalBroken` and `Diverged`."""
        if found.verdict is Verdict.EPOCH and isinstance(found.record, EpochStart):
            self.state = self.state or self._blank(found.record, found.position.topic)
        if found.verdict in (Verdict.EPOCH, Verdict.BATCH):
            assert self.state is not None, "no batch is effective before an epoch"
            self.state.take(found)

    def _blank(self, start: EpochStart, topic: str) -> ReplicaState:
        if topic.rpartition("-")[2] != str(start.partition):
            raise JournalBroken(f"{topic}, offset 0: this is the journal of partition {start.partition}")
        return ReplicaState(self.fold, partition=start.partition, partitions=start.partitions)
