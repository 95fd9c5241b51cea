"""Snapshots in a process that follows: where it begins, and the ones that it takes when they are due."""

import asyncio
import random

import structlog
from pydantic import SecretStr

from bennu.errors import BennuError
from bennu.log.port import Log
from bennu.replica.clock import Clock, SystemClock
from bennu.replica.journal import Position
from bennu.replica.state import ReplicaState
from bennu.snapshots.format import Draft
from bennu.snapshots.limits import LOOK_EVERY_S
from bennu.snapshots.pace import pause
from bennu.snapshots.restore import NewState, Restored, restore
from bennu.snapshots.store import SnapshotStore

logger = structlog.get_logger()


class Snapshots:
    """See `bennu.replica.node.Snapshots`.  `every_s`: how old the newest may be; 0: none is taken here."""

    def __init__(self, store: SnapshotStore, *, every_s: float, clock: Clock | None = None) -> None:
        self._store = store
        self._every_s = every_s
        self._clock = clock or SystemClock()
        self._beside: set[asyncio.Task[None]] = set()
        """What goes on when nobody waits for it any more: giving up, and forgetting."""

    async def begin(self, log: Log, topic: str, new_state: NewState) -> Restored | None:
        """See `restore`."""
        return await restore(self._store, log, topic, new_state=new_state)

    async def due(self, topic: str) -> None:
        """Return when the newest snapshot of this journal is too old, whoever took it; a while after being called."""
        while True:
            # Several follow one journal: whoever looks first takes it, and the others see that it is there.
            await asyncio.sleep(min(LOOK_EVERY_S, self._every_s or LOOK_EVERY_S) * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
            try:
                if self._every_s and await self._is_old(topic):
                    return
            except BennuError as error:
                logger.warning("can't look for snapshots", topic=topic, reason=str(error))

    async def _is_old(self, topic: str) -> bool:
        age_s = await self._store.age_s(topic)
        return age_s is None or age_s >= self._every_s

    async def take(self, state: ReplicaState, position: Position) -> None:
        """Write a snapshot, in slices; `state` must stand still until then.  What prevents it is said, not raised.

        Cancelled, it leaves the state alone at once, and Postgres to forget what it was sent.
        """
        if position.offset == 0:
            return
        writing = asyncio.create_task(self._write(state, position))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            writing.cancel()  # not awaited: rolling back may take as long as Postgres is away, and we are to lead
            self._keep(writing)
            logger.info("snapshot given up", topic=position.topic)
            raise

    async def _write(self, state: ReplicaState, position: Position) -> None:
        began_us = self._clock.monotonic_us()
        try:
            written = await self._store.write(Draft(state, position, created_at_us=self._clock.wall_us()), turn=pause)
        except BennuError as error:
            logger.warning("no snapshot was taken", topic=position.topic, reason=str(error))
            return
        took_ms = (self._clock.monotonic_us() - began_us) // 1000
        logger.info(
            "snapshot taken",
            topic=position.topic,
            snapshot=written.number,
            offset=position.offset,
            bytes=written.header.size,
            took_ms=took_ms,
        )
        self._keep(asyncio.create_task(self._forget(position.topic)))

    async def _forget(self, topic: str) -> None:
        try:
            await self._store.forget(topic, turn=pause)
        except BennuError as error:
            logger.warning("old snapshots were not forgotten", topic=topic, reason=str(error))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)


def snapshots_at(dsn: SecretStr | None, *, every_s: float, name: str) -> Snapshots | None:
    """As the settings of a service say it.  Raises `BadSettings` for a URL that is none."""
    return Snapshots(SnapshotStore(dsn.get_secret_value(), name=name), every_s=every_s) if dsn else None
