"""A snapshot is written whole or not at all, and the oldest go."""

import asyncio
from collections.abc import Iterator

import pytest

from bennu.errors import BadSettings, Unavailable
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.replica.journal import Position
from bennu.snapshots import format as snapshot_format
from bennu.snapshots.format import Draft, decode_header
from bennu.snapshots.limits import COMMAND_TIMEOUT_S
from bennu.snapshots.store import SnapshotStore
from tests.qserver.serving import connected, frozen
from tests.snapshots.replicas import TOPIC, Bank, new_state, stored

pytestmark = pytest.mark.real


_BACKENDS = """
SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'bennu snapshots test'
"""


class Place:
    """A journal, and a store for its snapshots."""

    def __init__(self, database: str) -> None:
        self.database = database
        self.log = MemoryLog(MemoryBroker())
        self.bank = Bank(self.log)
        self.store = SnapshotStore(database, name="test")

    async def take(self, count: int, *, keep: int = 9) -> list[int]:
        """So many, one after another; their offsets."""
        if not self.bank.ids:
            await self.bank.begins()
        offsets = []
        for _ in range(count):
            await self.bank.writes(3)
            offsets.append((await stored(self.store, self.log, keep=keep)).position.offset)
        return offsets

    async def offsets(self) -> list[int]:
        """Of those that are there, the newest first."""
        return [decode_header(found.header).position.offset for found in await self.store.find(TOPIC)]

    async def backends(self) -> list[int]:
        """Processes of Postgres that serve the store now."""
        async with connected(self.database) as connection:
            return [row["pid"] for row in await connection.fetch(_BACKENDS)]

    async def rows(self) -> int:
        """Chunks of all snapshots."""
        async with connected(self.database) as connection:
            return int(await connection.fetchval("SELECT count(*) FROM bennu.snapshot_chunks"))


@pytest.fixture
def place(database: str, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Of snapshots that have several chunks."""
    monkeypatch.setattr(snapshot_format, "CHUNK_BYTES", 1000)
    return Place(database)


def test_only_the_newest_are_kept(place: Place) -> None:
    """Of each topic; the chunks of the others go with them."""

    async def work() -> None:
        offsets = await place.take(4, keep=2)
        assert await place.offsets() == offsets[:1:-1]
        kept = sum(len(decode_header(found.header).chunks) for found in await place.store.find())
        assert await place.rows() == kept

    asyncio.run(work())


def test_the_newest_is_the_one_taken_last(place: Place) -> None:
    """Not the one that is farthest: a journal that began again is shorter."""

    async def work() -> None:
        await place.take(2)
        place.log = MemoryLog(MemoryBroker())
        place.bank = Bank(place.log, term=70)
        (again,) = await place.take(1, keep=1)
        assert await place.offsets() == [again]

    asyncio.run(work())


class Failing(Draft):
    """A state that can't be dumped to its end."""

    def chunks(self) -> Iterator[bytes | None]:
        yield from (bytes(1000), None)
        raise OverflowError("a number too large for msgpack")


def test_one_that_fails_half_way_leaves_nothing(place: Place) -> None:
    """Neither of itself, nor a gap among the others."""

    async def work() -> None:
        before = await place.take(3)
        rows = await place.rows()
        draft = Failing(new_state(), Position(TOPIC, offset=9), created_at_us=0)
        with pytest.raises(OverflowError):
            await place.store.write(draft)
        assert await place.offsets() == before[::-1]
        assert await place.rows() == rows

    asyncio.run(work())


def test_one_that_is_given_up_leaves_nothing(place: Place) -> None:
    """As by a follower that is to take over."""

    async def work() -> None:
        before = await place.take(1)
        rows, half_way = await place.rows(), asyncio.Event()

        async def turn() -> None:
            half_way.set()
            await asyncio.Event().wait()

        draft = Draft(new_state(), Position(TOPIC, offset=9), created_at_us=0)
        writing = asyncio.create_task(place.store.write(draft, turn=turn))
        await half_way.wait()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert await place.offsets() == before
        assert await place.rows() == rows

    asyncio.run(work())


def test_forgetting_that_is_given_up_leaves_all(place: Place) -> None:
    """A snapshot without some of its chunks is never seen; and whoever forgets next takes all that are too many."""

    async def work() -> None:
        offsets, half_way = await place.take(3), asyncio.Event()
        rows = await place.rows()

        async def turn() -> None:
            half_way.set()
            await asyncio.Event().wait()

        forgetting = asyncio.create_task(place.store.forget(TOPIC, keep=1, turn=turn))
        await half_way.wait()
        await place.store.forget(TOPIC, keep=1)  # at the same time: what another one has begun with is left to it
        assert await place.rows() == rows
        forgetting.cancel()
        await asyncio.wait((forgetting,))
        await until_unlocked(place)
        await place.store.forget(TOPIC, keep=1)
        assert await place.offsets() == offsets[:1:-1]

    asyncio.run(work())


async def until_unlocked(place: Place) -> None:
    """Postgres has noticed that the other one is gone."""
    async with connected(place.database) as connection:
        await connection.fetch("SELECT id FROM bennu.snapshots FOR UPDATE")


def test_who_is_cancelled_while_postgres_is_silent_ends(place: Place) -> None:
    """It does not ask to roll back first, for as long as a statement may take."""

    async def work() -> None:
        await place.take(1)
        standing = asyncio.Event()

        async def stand() -> None:
            standing.set()
            await asyncio.Event().wait()

        forgetting = asyncio.create_task(place.store.forget(TOPIC, keep=0, turn=stand))
        await standing.wait()
        with frozen(*await place.backends()):
            forgetting.cancel()
            await asyncio.wait((forgetting,), timeout=COMMAND_TIMEOUT_S / 3)
            assert forgetting.cancelled()

    asyncio.run(work())


def test_its_age_is_told(place: Place) -> None:
    """By the clock of Postgres, of the newest of the topic."""

    async def work() -> None:
        await place.take(2)
        age_s = await place.store.age_s(TOPIC)
        assert age_s is not None
        assert 0 <= age_s < 60
        assert await place.store.age_s("bank-events-1") is None

    asyncio.run(work())


def test_several_may_begin_at_once(place: Place) -> None:
    """The tables are made once."""

    async def work() -> None:
        await place.bank.begins()
        await asyncio.gather(*(stored(place.store, place.log) for _ in range(5)))
        assert len(await place.offsets()) == 5

    asyncio.run(work())


def test_a_refusal_and_an_absence_are_told_apart(database: str) -> None:
    """The one is for an operator, the other passes."""

    async def work() -> None:
        with pytest.raises(BadSettings, match="postgres"):
            await SnapshotStore(f"{database}_that_is_not_there", name="test").find(TOPIC)
        with pytest.raises(Unavailable, match="Postgres is away"):
            await SnapshotStore("postgresql://u:p@127.0.0.1:1/none", name="test").find(TOPIC)

    asyncio.run(work())


def test_nothing_read_is_nothing_to_take() -> None:
    """A snapshot of nothing would be worth nothing."""
    with pytest.raises(BadSettings, match="nothing was read"):
        Draft(new_state(), Position(TOPIC), created_at_us=0)
