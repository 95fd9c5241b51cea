"""Snapshots go through the archive's folder unchanged, and none comes back that the archive does not lead up to."""

from pathlib import Path

import asyncpg
import pytest

from bennu.archive.folder import Archive
from bennu.archive.snapshots import SUFFIX, Kept, Moved, keep, put_back
from bennu.errors import RecordBroken
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.snapshots import format as snapshot_format
from bennu.snapshots.restore import restore
from bennu.snapshots.store import SnapshotStore
from tests.log.helpers import run
from tests.snapshots.replicas import TOPIC, Bank, new_state, stored

HERE, THERE = "it is here already", "it is there already"


@pytest.fixture
def store(database: str, monkeypatch: pytest.MonkeyPatch) -> SnapshotStore:
    """Of snapshots that have several chunks."""
    monkeypatch.setattr(snapshot_format, "CHUNK_BYTES", 1000)
    return SnapshotStore(database, name="test")


async def two(store: SnapshotStore) -> tuple[MemoryLog, list[int]]:
    """A journal, and the offsets of its two snapshots."""
    log = MemoryLog(MemoryBroker())
    bank = Bank(log)
    await bank.begins()
    offsets = []
    for _ in range(2):
        await bank.writes(5)
        offsets.append((await stored(store, log)).position.offset)
    return log, offsets


@pytest.mark.real
def test_snapshots_come_back_as_they_were(store: SnapshotStore, database: str, tmp_path: Path) -> None:
    """Kept in the folder, lost in Postgres, put back: a replica begins from the newest; neither step does it twice."""

    async def body() -> None:
        log, (older, newer) = await two(store)
        archive = Archive(tmp_path)
        archive.write_ends({TOPIC: newer})
        before = {one.header for one in await store.find()}
        assert await keep(store, archive) == [Moved(TOPIC, newer), Moved(TOPIC, older)]
        assert await keep(store, archive) == [Moved(TOPIC, newer, HERE), Moved(TOPIC, older, HERE)]
        await drop(database)
        assert await put_back(store, archive) == [Moved(TOPIC, older), Moved(TOPIC, newer)]
        assert await put_back(store, archive) == [Moved(TOPIC, older, THERE), Moved(TOPIC, newer, THERE)]
        assert {one.header for one in await store.find()} == before
        restored = await restore(store, log, TOPIC, new_state=new_state)
        assert restored is not None
        assert restored.position.offset == newer

    run(body())


@pytest.mark.real
def test_a_snapshot_of_what_was_lost_does_not_come_back(store: SnapshotStore, database: str, tmp_path: Path) -> None:
    """A snapshot that knows more than the archive would stand before a journal that went on otherwise."""

    async def body() -> None:
        _, (older, newer) = await two(store)
        archive = Archive(tmp_path)
        archive.write_ends({TOPIC: newer - 1})
        await keep(store, archive)
        await drop(database)
        passed_over = Moved(TOPIC, newer, f"the archive ends before {newer - 1}")
        assert await put_back(store, archive) == [Moved(TOPIC, older), passed_over]

    run(body())


@pytest.mark.real
def test_a_spoilt_file_is_named(store: SnapshotStore, tmp_path: Path) -> None:
    """No bit of a snapshot's file can change, and no part of it be missing, unnoticed."""

    async def body() -> None:
        await two(store)
        await keep(store, Archive(tmp_path))

    run(body())
    path = min(tmp_path.glob(f"snapshots/*/*{SUFFIX}"))
    whole = path.read_bytes()
    Kept(path)
    for place in range(0, len(whole), 7):
        spoilt = bytearray(whole)
        spoilt[place] ^= 1 << place % 8
        for content in (bytes(spoilt), whole[:place]):
            path.write_bytes(content)
            with pytest.raises(RecordBroken, match=path.name):
                Kept(path)


async def drop(database: str) -> None:
    """Lose the tables."""
    connection = await asyncpg.connect(database)
    try:
        await connection.execute("DROP TABLE bennu.snapshot_chunks, bennu.snapshots")
    finally:
        await connection.close()
