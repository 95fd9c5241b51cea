"""Which snapshot is begun from, and what happens when none can be."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import asyncpg
import msgspec
import pytest
import structlog

from bennu.errors import OffsetGone
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.snapshots import format as snapshot_format
from bennu.snapshots import restore as restoring
from bennu.snapshots.format import decode_header
from bennu.snapshots.once import catch_up
from bennu.snapshots.restore import Restored, restore
from bennu.snapshots.store import SnapshotStore, StoreRefused
from tests.snapshots.replicas import TOPIC, Bank, content, new_state, replica, stored

pytestmark = pytest.mark.real

Spoil = Callable[["asyncpg.Connection[asyncpg.Record]", int], Awaitable[object]]


class Begun(NamedTuple):
    """What a replica began from."""

    restored: Restored | None
    reasons: list[str]
    """Why snapshots were passed over, in order."""


class Scene:
    """A journal with a snapshot after every ten batches; run a coroutine function on it in a loop."""

    def __init__(self, database: str) -> None:
        self.database = database
        self.broker = MemoryBroker()
        self.log = MemoryLog(self.broker)
        self.bank = Bank(self.log)
        self.store = SnapshotStore(database, name="test")

    async def snapshots(self, count: int) -> list[int]:
        """Take so many; their offsets."""
        await self.bank.begins()
        offsets = []
        for _ in range(count):
            await self.bank.writes(10)
            offsets.append((await stored(self.store, self.log)).position.offset)
        await self.bank.writes(5)
        return offsets

    async def spoil(self, spoil: Spoil, *, newest: int = 1) -> None:
        """Do this to so many of the newest snapshots."""
        connection = await asyncpg.connect(self.database)
        try:
            for snapshot in (await self.store.find(TOPIC))[:newest]:
                await spoil(connection, snapshot.number)
        finally:
            await connection.close()

    async def begin(self, *, partitions: int = 1) -> Begun:
        """As a replica that starts does."""
        with structlog.testing.capture_logs() as said:
            found = await restore(self.store, self.log, TOPIC, new_state=lambda: new_state(partitions=partitions))
        return Begun(found, [line["reason"] for line in said if line["event"] == "snapshot passed over"])

    async def check(self, begun: Begun) -> None:
        """Going on from there gives what reading all gives."""
        assert begun.restored is not None
        state, position = begun.restored
        ended = await catch_up(self.log, state, position)
        whole, end = await replica(self.log)
        assert ended == end
        assert content(state) == content(whole)


@pytest.fixture
def scene(database: str, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Of snapshots that have several chunks."""
    monkeypatch.setattr(snapshot_format, "CHUNK_BYTES", 1000)
    return Scene(database)


def test_the_newest_snapshot_is_begun_from(scene: Scene) -> None:
    """And what came since leads to the same state as all of the journal."""

    async def work() -> None:
        offsets = await scene.snapshots(2)
        begun = await scene.begin()
        assert begun.restored is not None
        assert begun.restored.position.offset == offsets[-1]
        assert begun.reasons == []
        await scene.check(begun)

    asyncio.run(work())


def test_without_a_snapshot_the_journal_is_read_from_its_start(scene: Scene) -> None:
    """Nothing is there, not even tables."""

    async def work() -> None:
        await scene.snapshots(0)
        assert await scene.begin() == Begun(None, [])
        assert await scene.store.age_s(TOPIC) is None

    asyncio.run(work())


def flip(chunk: int) -> Spoil:
    """A bit of one chunk; of the last one, counted from behind."""
    place = f"(SELECT number FROM bennu.snapshot_chunks WHERE snapshot = $1 ORDER BY number {'DESC' * (chunk < 0)} "
    return lambda connection, number: connection.execute(
        "UPDATE bennu.snapshot_chunks SET body = set_bit(body, 100, 1 - get_bit(body, 100)) "
        f"WHERE snapshot = $1 AND number = {place} OFFSET {max(chunk, -chunk - 1)} LIMIT 1)",
        number,
    )


def truncate(connection: "asyncpg.Connection[asyncpg.Record]", number: int) -> Awaitable[object]:
    """The last chunk is gone."""
    return connection.execute(
        "DELETE FROM bennu.snapshot_chunks WHERE snapshot = $1 "
        "AND number = (SELECT max(number) FROM bennu.snapshot_chunks WHERE snapshot = $1)",
        number,
    )


def header(**changes: object) -> Spoil:
    """The header says something else, and has the right digest."""

    async def spoil(connection: "asyncpg.Connection[asyncpg.Record]", number: int) -> None:
        raw = await connection.fetchval("SELECT header FROM bennu.snapshots WHERE id = $1", number)
        found = msgspec.structs.replace(decode_header(raw), **changes).digested()
        await connection.execute("UPDATE bennu.snapshots SET header = $2 WHERE id = $1", number, found.encode())

    return spoil


async def spoil_header(connection: "asyncpg.Connection[asyncpg.Record]", number: int) -> None:
    """A bit of it."""
    await connection.execute(
        "UPDATE bennu.snapshots SET header = set_bit(header, 200, 1 - get_bit(header, 200)) WHERE id = $1", number
    )


async def moved_on(connection: "asyncpg.Connection[asyncpg.Record]", number: int) -> None:
    """It claims to end a thousand records later than the log does."""
    raw = await connection.fetchval("SELECT header FROM bennu.snapshots WHERE id = $1", number)
    position = decode_header(raw).position
    await header(position=position._replace(offset=position.offset + 1000))(connection, number)


def altered(table: str, change: str) -> Spoil:
    """A table that is not as it was made, in all its rows."""
    return lambda connection, _: connection.execute(f"ALTER TABLE bennu.{table} {change}")


def gone(table: str, column: str, key: str) -> Spoil:
    """A column of its rows holds nothing."""
    return lambda connection, number: connection.execute(
        f"ALTER TABLE bennu.{table} ALTER COLUMN {column} DROP NOT NULL; "
        f"UPDATE bennu.{table} SET {column} = NULL WHERE {key} = {number}"
    )


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (flip(0), "a chunk was changed since"),
        (flip(1), "a chunk was changed since"),
        (flip(-1), "a chunk was changed since"),
        (truncate, "it is truncated"),
        (spoil_header, "its header"),
        (gone("snapshots", "header", "id"), "its header is not of bytes"),
        (gone("snapshot_chunks", "body", "snapshot"), "a chunk is not of bytes"),
        (header(format_version=2), "it has format 2"),
        (header(app="shop"), "it is one of app `shop`"),
        (header(topic="bank-events-1"), "it is one of app `bank`, bank-events-1"),
        (header(partition=3), "partition 3 of 1"),
        (header(partitions=8), "partition 0 of 8"),
        (header(forms={}), "a slice can't be read"),
        (moved_on, "beyond the log's tail"),
    ],
)
def test_one_that_cannot_be_used_is_passed_over_for_an_older_one(scene: Scene, spoil: Spoil, said: str) -> None:
    """With one line that says why; and the older one leads to the same state."""

    async def work() -> None:
        offsets = await scene.snapshots(2)
        await scene.spoil(spoil)
        begun = await scene.begin()
        (reason,) = begun.reasons
        assert said in reason
        assert begun.restored is not None
        assert begun.restored.position.offset == offsets[0]
        await scene.check(begun)

    asyncio.run(work())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (altered("snapshots", "ALTER COLUMN header TYPE text USING encode(header, 'hex')"), "its header is not of"),
        (altered("snapshots", "ALTER COLUMN header TYPE int USING length(header)"), "its header is not of bytes"),
        (altered("snapshot_chunks", "ALTER COLUMN body TYPE text USING encode(body, 'hex')"), "a chunk is not of"),
        (altered("snapshot_chunks", "DROP COLUMN body CASCADE"), "its chunks can't be read"),
        (altered("snapshot_chunks", "ALTER COLUMN number TYPE text"), ""),
    ],
)
def test_a_table_that_was_altered_is_no_reason_to_crash(scene: Scene, spoil: Spoil, said: str) -> None:
    """Each snapshot in it is passed over, unless it can be used all the same."""

    async def work() -> None:
        await scene.snapshots(2)
        await scene.spoil(spoil)
        begun = await scene.begin()
        assert [reason for reason in begun.reasons if said not in reason] == []
        assert len(begun.reasons) == (2 if said else 0)
        assert (begun.restored is None) == bool(said)

    asyncio.run(work())


def test_when_none_can_be_used_the_journal_is_read_from_its_start(scene: Scene) -> None:
    """Each is passed over with its own line."""

    async def work() -> None:
        await scene.snapshots(3)
        await scene.spoil(truncate, newest=3)
        begun = await scene.begin()
        assert begun.restored is None
        assert len(begun.reasons) == 3

    asyncio.run(work())


def test_snapshots_of_another_number_of_partitions_are_not_begun_from(scene: Scene) -> None:
    """So the journal is read from its start, and says itself how many there are."""

    async def work() -> None:
        await scene.snapshots(1)
        begun = await scene.begin(partitions=2)
        assert begun.restored is None
        assert begun.reasons == ["it is one of app `bank`, bank-events-0, partition 0 of 1"]

    asyncio.run(work())


def test_a_journal_that_began_again_is_not_continued_from_a_snapshot_of_the_old_one(scene: Scene) -> None:
    """Its records are others, though offsets and numbers fit."""

    async def work() -> None:
        await scene.snapshots(1)
        scene.broker.delete(TOPIC)
        scene.bank = Bank(scene.log, seed=1, term=70)
        await scene.bank.begins()
        await scene.bank.writes(30)
        begun = await scene.begin()
        assert begun.restored is None
        assert "another history" in begun.reasons[0]

    asyncio.run(work())


def test_a_snapshot_that_the_log_still_reaches_is_enough(scene: Scene) -> None:
    """The records before it may be gone."""

    async def work() -> None:
        offsets = await scene.snapshots(2)
        whole, _ = await replica(scene.log)
        scene.broker.expire_before(TOPIC, offsets[1])
        begun = await scene.begin()
        assert begun.restored is not None
        await catch_up(scene.log, *begun.restored)
        assert content(begun.restored.state) == content(whole)

    asyncio.run(work())


def test_a_hole_between_snapshot_and_log_names_both_ends(scene: Scene) -> None:
    """Nothing may be skipped, so the process stops, and says what lies where."""

    async def work() -> None:
        offsets = await scene.snapshots(2)
        first = offsets[1] + 2
        scene.broker.expire_before(TOPIC, first)
        said = f"first record kept has offset {first}, but the newest snapshot that fits ends at offset {offsets[1]}"
        with pytest.raises(OffsetGone, match=re.escape(said)):
            await scene.begin()

    asyncio.run(work())


def test_a_log_without_its_beginning_and_no_snapshot_is_a_hole_too(scene: Scene) -> None:
    """Whatever there was is not taken for a beginning."""

    async def work() -> None:
        await scene.snapshots(0)
        scene.broker.expire_before(TOPIC, 3)
        with pytest.raises(OffsetGone, match="first record kept has offset 3, but no snapshot can be used"):
            await scene.begin()

    asyncio.run(work())


def test_postgres_that_is_away_keeps_nobody_from_a_journal_that_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start waits for it, but not for long: the journal alone is the truth."""
    monkeypatch.setattr(restoring, "STORE_PATIENCE_S", 0.0)

    async def work() -> None:
        scene = Scene("postgresql://nobody:secret@127.0.0.1:1/none")
        await scene.bank.begins()
        with structlog.testing.capture_logs() as said:
            assert await restore(scene.store, scene.log, TOPIC, new_state=new_state) is None
        (line,) = said
        assert "Postgres is away" in line["reason"]
        assert "secret" not in str(said)

    asyncio.run(work())


def test_tables_that_somebody_changed_keep_nobody_from_a_journal_that_is_whole(scene: Scene) -> None:
    """What Postgres refuses for good is said, and stops only a process that has no other way to begin."""

    async def work() -> None:
        offsets = await scene.snapshots(1)
        await scene.spoil(
            lambda connection, _: connection.execute("ALTER TABLE bennu.snapshots RENAME COLUMN header TO other")
        )
        assert (await scene.begin()).restored is None
        scene.broker.expire_before(TOPIC, offsets[0])
        with pytest.raises(StoreRefused, match="Postgres refused"):
            await scene.begin()

    asyncio.run(work())
