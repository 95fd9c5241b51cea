"""A process that takes a snapshot and does nothing else: restore, replay what came since, write."""

from contextlib import aclosing
from typing import NamedTuple

from bennu.log.port import Log
from bennu.ops.pages import large_pages
from bennu.replica.history import judged
from bennu.replica.journal import Position
from bennu.replica.state import ReplicaState
from bennu.snapshots.format import Draft
from bennu.snapshots.limits import KEEP
from bennu.snapshots.pace import AT_ONCE, Pace, Turn, give_way
from bennu.snapshots.restore import NewState, restore
from bennu.snapshots.store import SnapshotStore, Written


class Taken(NamedTuple):
    """What was done for one journal."""

    begun: Position
    """Where a snapshot led to, or the start of the journal."""
    ended: Position
    written: Written | None
    """None when the newest snapshot holds all there is, or nothing is there."""


async def catch_up(log: Log, state: ReplicaState, position: Position, *, turn: Turn = give_way) -> Position:
    """Evolve by all that is there now; the position then.  Raises what `judged` and `ReplicaState.take` raise."""
    async with large_pages(), aclosing(judged(log, position.topic, position)) as found:
        async for one in found:
            state.take(one)
            position = one.position
            await turn()
    return position


class Taker:
    """Takes snapshots into a store, of which the newest `keep` of each journal stay."""

    def __init__(self, store: SnapshotStore, log: Log, *, keep: int = KEEP, pace: Pace = AT_ONCE) -> None:
        self._store = store
        self._log = log
        self._keep = keep
        self._pace = pace

    async def take(self, topic: str, new_state: NewState, *, created_at_us: int) -> Taken:
        """One of this journal's tail; it bears this wall time.

        Raises what `restore` and `catch_up` raise, and `Unavailable`.
        """
        await self._store.age_s(topic)  # to hear at once, not after a long replay, that Postgres is away
        restored = await restore(self._store, self._log, topic, new_state=new_state, turn=self._pace.read)
        state, begun = restored or (new_state(), Position(topic))
        ended = await catch_up(self._log, state, begun, turn=self._pace.read)
        if ended.batch_no == begun.batch_no:
            return Taken(begun, ended, None)
        written = await self._store.write(Draft(state, ended, created_at_us=created_at_us), turn=self._pace.write)
        await self._store.forget(topic, keep=self._keep, turn=self._pace.write)
        return Taken(begun, ended, written)
