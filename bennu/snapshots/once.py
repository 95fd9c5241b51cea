"""A process that takes a snapshot and does nothing else: restore, replay what came since, write."""

import asyncio
from contextlib import aclosing
from typing import NamedTuple

from bennu.log.port import Log
from bennu.replica.history import judged
from bennu.replica.journal import Position
from bennu.replica.state import ReplicaState
from bennu.snapshots.format import Draft
from bennu.snapshots.limits import KEEP
from bennu.snapshots.restore import NewState, restore
from bennu.snapshots.store import SnapshotStore, Written


class Taken(NamedTuple):
    """What was done for one journal."""

    begun: Position
    """Where a snapshot led to, or the start of the journal."""
    ended: Position
    written: Written | None
    """None when the newest snapshot holds all there is, or nothing is there."""


async def catch_up(log: Log, state: ReplicaState, position: Position) -> Position:
    """Evolve by all that is there now; the position then.  Raises what `judged` and `ReplicaState.take` raise."""
    async with aclosing(judged(log, position.topic, position)) as found:
        async for one in found:
            state.take(one)
            position = one.position
            await asyncio.sleep(0)
    return position


class Taker:
    """Takes snapshots into a store; `created_at_us` is the wall time that they bear."""

    def __init__(self, store: SnapshotStore, log: Log, *, created_at_us: int, keep: int = KEEP) -> None:
        self._store = store
        self._log = log
        self._created_at_us = created_at_us
        self._keep = keep

    async def take(self, topic: str, new_state: NewState) -> Taken:
        """One of this journal's tail.  Raises what `restore` and `catch_up` raise, and `Unavailable`."""
        await self._store.age_s(topic)  # to hear at once, not after a long replay, that Postgres is away
        restored = await restore(self._store, self._log, topic, new_state=new_state)
        state, begun = restored or (new_state(), Position(topic))
        ended = await catch_up(self._log, state, begun)
        if ended.batch_no == begun.batch_no:
            return Taken(begun, ended, None)
        draft = Draft(state, ended, created_at_us=self._created_at_us)
        return Taken(begun, ended, await self._store.write(draft, keep=self._keep))
