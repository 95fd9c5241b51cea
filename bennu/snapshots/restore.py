"""Beginning a replica from the newest snapshot that can be used, else from the start of its journal."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import NamedTuple

import structlog

from bennu.errors import OffsetGone, Unavailable
from bennu.log.port import Log
from bennu.ops.patience import Patience
from bennu.replica.journal import Position
from bennu.replica.slices import Unfit
from bennu.replica.state import ReplicaState
from bennu.snapshots.format import Header, Slices, app_of, decode_header
from bennu.snapshots.limits import STORE_PATIENCE_S
from bennu.snapshots.lineage import check_lineage
from bennu.snapshots.pace import Turn, give_way
from bennu.snapshots.store import SnapshotStore, Stored, StoreRefused

logger = structlog.get_logger()

NewState = Callable[[], ReplicaState]
"""The memory of a process that has read nothing."""


class Restored(NamedTuple):
    """A replica's state, and where it stands in its journal."""

    state: ReplicaState
    position: Position


class _Behind(Unfit):
    """It ends before the first record that the log has kept."""

    def __init__(self, offset: int, first: int) -> None:
        super().__init__(f"it ends at offset {offset}, and the log has kept none before {first}")
        self.offset = offset


async def restore(
    store: SnapshotStore, log: Log, topic: str, *, new_state: NewState, turn: Turn = give_way
) -> Restored | None:
    """The state to go on from; None: the journal is to be read from its start.  `turn` is awaited after each slice.

    A snapshot that can't be used is passed over, with a line in the log that says why.  Raises `OffsetGone` when
    neither a snapshot nor the log has the beginning; Postgres that is away is waited for, but not for long where
    the log is whole, and `StoreRefused` only where it is not.
    """
    patience, loop = Patience("Postgres"), asyncio.get_running_loop()
    give_up_at_s = loop.time() + STORE_PATIENCE_S
    while True:
        bounds = await _bounds(log, topic)
        try:
            return await _restore(store, log, (topic, bounds), new_state=new_state, turn=turn)
        except (Unavailable, StoreRefused) as error:
            final = isinstance(error, StoreRefused)
            if bounds[0] == 0 and (final or loop.time() >= give_up_at_s):
                logger.warning("no snapshot: the journal is replayed from its start", topic=topic, reason=str(error))
                return None
            if final:
                raise
            await patience.wait(error)


async def _bounds(log: Log, topic: str) -> tuple[int, int]:
    patience = Patience("log")
    while True:
        try:
            return await log.bounds(topic)
        except Unavailable as error:
            await patience.wait(error)


async def _restore(
    store: SnapshotStore, log: Log, place: tuple[str, tuple[int, int]], *, new_state: NewState, turn: Turn
) -> Restored | None:
    topic, bounds = place
    behind: _Behind | None = None
    for stored in await store.find(topic):
        try:
            header = decode_header(stored.header)
            state = new_state()
            _check_place(header, topic, state)
            _check_offset(header.position.offset, bounds)
            await check_lineage(log, header.position, bounds)
            await _load(store, stored, (header, state), turn=turn)
        except Unfit as reason:
            behind = behind or (reason if isinstance(reason, _Behind) else None)
            logger.warning("snapshot passed over", topic=topic, snapshot=stored.number, reason=str(reason))
        else:
            logger.info("restored", topic=topic, snapshot=stored.number, offset=header.position.offset)
            return Restored(state, header.position)
    if bounds[0] > 0:
        raise _hole(topic, bounds[0], behind)
    return None


def _check_place(header: Header, topic: str, state: ReplicaState) -> None:
    """Whether it is one of this replica, whatever row of the table it stands in."""
    ours = (app_of(topic), topic, topic, state.partition, state.partitions)
    its = (header.app, header.topic, header.position.topic, header.partition, header.partitions)
    if ours != its:
        raise Unfit(
            f"it is one of app `{header.app}`, {header.topic}, partition {header.partition} of {header.partitions}"
        )


def _check_offset(offset: int, bounds: tuple[int, int]) -> None:
    first, tail = bounds
    if offset > tail:
        raise Unfit(f"it ends at offset {offset}, beyond the log's tail at {tail}")
    if offset < first:
        raise _Behind(offset, first)


def _hole(topic: str, first: int, behind: _Behind | None) -> OffsetGone:
    ends = f"the newest snapshot that fits ends at offset {behind.offset}" if behind else "no snapshot can be used"
    return OffsetGone(
        f"{topic}: the first record kept has offset {first}, but {ends}: what lies between is lost to this process; "
        "give it the archive of this journal, or a later snapshot"
    )


async def _load(store: SnapshotStore, stored: Stored, into: tuple[Header, ReplicaState], *, turn: Turn) -> None:
    """Each chunk is checked before it is looked at; others get a turn after each slice.

    Raises `Unfit`, also where Postgres can't read its chunks: those of another one may be whole.
    """
    header, state = into
    load, slices = state.load(header.forms), Slices(header)
    try:
        async with aclosing(store.chunks(stored)) as chunks:
            async for chunk in chunks:
                for piece in slices.of(chunk):
                    load(piece)
                    await turn()
    except StoreRefused as refusal:
        raise Unfit(f"its chunks can't be read: {refusal}") from refusal
    slices.end()
