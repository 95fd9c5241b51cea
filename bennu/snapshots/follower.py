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
from bennu.snapshots.spool import Spool
from bennu.snapshots.store import SnapshotStore

logger = structlog.get_logger()


class Snapshots:
    """See `bennu.replica.node.Snapshots`.  `every_s`: how old the newest may be; 0: none is taken here."""

    def __init__(self, store: SnapshotStore, *, every_s: float, clock: Clock | None = None) -> None:
        self._store = store
        self._every_s = every_s
        self._clock = clock or SystemClock()
        self._writing: set[str] = set()
        """Journals whose snapshot is on its way to Postgres."""
        self._beside: set[asyncio.Task[None]] = set()
        """What nobody waits for: writing, and forgetting."""

    async def begin(self, log: Log, topic: str, new_state: NewState) -> Restored | None:
        """See `restore`."""
        return await restore(self._store, log, topic, new_state=new_state)

    async def due(self, topic: str) -> None:
        """Return when the newest snapshot of this journal is too old, whoever took it; a while after being called."""
        while True:
            # Several follow one journal: whoever looks first takes it, and the others see that it is there.
            await asyncio.sleep(min(LOOK_EVERY_S, self._every_s or LOOK_EVERY_S) * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
            try:
                if self._every_s and topic not in self._writing and await self._is_old(topic):
                    return
            except BennuError as error:
                logger.warning("can't look for snapshots", topic=topic, reason=str(error))

    async def _is_old(self, topic: str) -> bool:
        age_s = await self._store.age_s(topic)
        return age_s is None or age_s >= self._every_s

    async def take(self, state: ReplicaState, position: Position) -> None:
        """Make a snapshot; `state` must stand still until then, and goes on while it is written.

        What prevents it is said, not raised.
        """
        if position.offset == 0:
            return
        draft = Draft(state, position, created_at_us=self._clock.wall_us())
        try:
            spool = await Spool.of(draft)
        except (BennuError, OSError) as error:
            logger.warning("no snapshot was made", topic=position.topic, reason=str(error))
            return
        self._writing.add(position.topic)
        self._keep(asyncio.create_task(self._write(spool, position)))

    async def _write(self, spool: Spool, position: Position) -> None:
        began_us = self._clock.monotonic_us()
        try:
            written = await self._store.write(spool, turn=pause)
        except BennuError as error:
            logger.warning("no snapshot was taken", topic=position.topic, reason=str(error))
            return
        finally:
            spool.close()
            self._writing.discard(position.topic)
        took_ms = (self._clock.monotonic_us() - began_us) // 1000
        logger.info(
            "snapshot taken",
            topic=position.topic,
            snapshot=written.number,
            offset=position.offset,
            bytes=written.header.size,
            took_ms=took_ms,
        )
        await self._forget(position.topic)

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
