"""Snapshots that are old enough: what a replay to a past moment may begin from."""

from collections.abc import Sequence

from bennu.replica.slices import Unfit
from bennu.snapshots.format import decode_header
from bennu.snapshots.store import SnapshotStore, Stored


class Until(SnapshotStore):
    """A store as it was before event `seq` + 1."""

    def __init__(self, dsn: str, *, name: str, seq: int) -> None:
        super().__init__(dsn, name=name)
        self._seq = seq

    async def find(self, topic: str = "") -> Sequence[Stored]:
        return [stored for stored in await super().find(topic) if self._is_old_enough(stored)]

    def _is_old_enough(self, stored: Stored) -> bool:
        try:
            return decode_header(stored.header).position.next_seq <= self._seq + 1
        except Unfit:
            return False
