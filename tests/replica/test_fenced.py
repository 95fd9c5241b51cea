"""Appending so that "done" means read as effective, whatever the log does to an append."""

import asyncio
from random import Random
from typing import NamedTuple

import pytest

from bennu.errors import Final, OffsetBeyondTail
from bennu.limits import RESOLVE_TIMEOUT_MS, TAIL_LOST_AFTER_MS
from bennu.log.memory import NO_FAULTS, Faults, MemoryBroker, MemoryLog
from bennu.log.port import MAX_RECORD_BYTES
from bennu.replica.fenced import Deposed, FencedJournal, Unresolved
from bennu.replica.journal import FORMAT_VERSION, JournalReader, Position, Verdict, encode
from bennu.testing.loop import run
from bennu.v1.journal_pb2 import EpochStart, EventBatch

TOPIC = "bank-events-0"
ALL_LANDED_S = 120
"""Longer than anything that was sent stays under way."""


class Node:
    """One process's side of the journal; `absorbed` is what it read that others had written."""

    def __init__(self, broker: MemoryBroker, term: int = 1) -> None:
        self.absorbed: list[Verdict] = []
        reader = JournalReader(Position(TOPIC))
        self.journal = FencedJournal(
            MemoryLog(broker), reader, lambda verdict, *_: self.absorbed.append(verdict), chance=Random(term)
        )
        self._term = term

    @property
    def position(self) -> Position:
        return self.journal.reader.position

    async def lead(self) -> None:
        """Read to the end, and start the next epoch."""
        await self.journal.read_to_tail()
        start = EpochStart(format_version=FORMAT_VERSION, epoch=self.position.epoch + 1, term=self._term)
        await self.journal.append(encode(start), start)

    def next_batch(self, event: bytes = b"event") -> EventBatch:
        """The batch that extends what this node has read."""
        last = self.position
        return EventBatch(
            format_version=FORMAT_VERSION,
            epoch=last.epoch,
            term=last.term,
            batch_no=last.batch_no + 1,
            first_seq=last.next_seq,
            prev_digest=last.digest,
            events=[event],
        )

    async def append(self, event: bytes = b"event") -> bytes:
        """Append the next batch; its bytes, once effective."""
        batch = self.next_batch(event)
        body = encode(batch)
        await self.journal.append(body, batch)
        return body


class World(NamedTuple):
    """A broker, and a node that leads its journal."""

    broker: MemoryBroker
    leader: Node


async def led(seed: int = 0) -> World:
    broker = MemoryBroker(Random(seed))
    broker.create(TOPIC)
    leader = Node(broker)
    await leader.lead()
    return World(broker, leader)


def heal_after(broker: MemoryBroker, seconds: float) -> None:
    """From then on nothing goes wrong any more."""
    asyncio.get_running_loop().call_later(seconds, lambda: setattr(broker, "faults", NO_FAULTS))


async def effective(broker: MemoryBroker) -> list[bytes]:
    """What a reader who comes when everything has landed calls effective."""
    await asyncio.sleep(ALL_LANDED_S)
    reader = JournalReader(Position(TOPIC))
    bodies = [body for body in broker.records(TOPIC) if body is not None]
    return [body for offset, body in enumerate(bodies) if reader.classify(offset, body)[0] is Verdict.BATCH]


def test_an_append_whose_answer_was_lost_is_found_by_reading() -> None:
    """It landed: reading shows it, and it is not written again."""

    async def body() -> None:
        broker, leader = await led()
        broker.faults = Faults(unknown=1.0)
        written = await leader.append()
        assert broker.records(TOPIC)[1:] == [written]
        assert leader.position.batch_no == 1

    run(body())


def test_an_append_that_was_lost_is_sent_again() -> None:
    """It never landed: the same bytes are sent until they do."""

    async def body() -> None:
        broker, leader = await led()
        broker.faults = Faults(drop=1.0)
        heal_after(broker, 5)
        written = await leader.append()
        assert broker.records(TOPIC)[1:] == [written]

    run(body())


def test_an_append_that_lands_later_counts_once() -> None:
    """Sent again and then landing twice: one is effective, the other a duplicate, for the leader and for all."""

    async def body() -> None:
        broker, leader = await led()
        broker.faults = Faults(late=1.0, late_max_ms=5_000)
        first = await leader.append(b"first")
        broker.faults = NO_FAULTS
        second = await leader.append(b"second")
        assert broker.records(TOPIC).count(first) >= 1
        assert await effective(broker) == [first, second]
        await leader.journal.read_to_tail()
        assert (leader.position.batch_no, leader.absorbed) == (2, [])

    run(body())


def test_a_refusal_is_not_taken_at_its_word_after_an_unknown() -> None:
    """An attempt that was refused says nothing of the one before it, which may still land: it is read for."""

    async def body() -> None:
        broker, leader = await led()
        broker.faults = Faults(late=1.0, late_max_ms=4_000)
        asyncio.get_running_loop().call_later(1, lambda: setattr(broker, "faults", Faults(refuse=1.0)))
        written = await leader.append()
        assert await effective(broker) == [written]

    run(body())


@pytest.mark.parametrize("faults", [Faults(drop=1.0), Faults(refuse=1.0)], ids=["lost", "refused"])
def test_what_stays_unresolved_ends_the_leadership(faults: Faults) -> None:
    """In bounded time, whether the log loses or refuses: only a new epoch can say what became of it."""

    async def body() -> None:
        broker, leader = await led()
        broker.faults = faults
        began_s = asyncio.get_running_loop().time()
        with pytest.raises(Unresolved):
            await leader.append()
        assert asyncio.get_running_loop().time() - began_s < 2 * RESOLVE_TIMEOUT_MS / 1000

    run(body())


def test_a_deposed_leader_finds_out_and_its_batch_is_void() -> None:
    """Another's epoch stands between: the append ends in `Deposed`, and every reader passes over what it wrote."""

    async def body() -> None:
        broker, old = await led()
        await old.append(b"old")
        new = Node(broker, term=2)
        await new.lead()
        with pytest.raises(Deposed):
            await old.append(b"too late")
        written = await new.append(b"new")
        assert (await effective(broker))[-1] == written
        assert len(await effective(broker)) == 2
        assert new.absorbed == [Verdict.EPOCH, Verdict.BATCH]

    run(body())


def test_a_candidate_that_lost_finds_out() -> None:
    """Two claim one epoch: the first in the log has it."""

    async def body() -> None:
        broker = MemoryBroker()
        broker.create(TOPIC)
        winner, loser = Node(broker, 1), Node(broker, 2)
        await winner.lead()
        start = EpochStart(format_version=FORMAT_VERSION, epoch=1, term=2)
        with pytest.raises(Deposed):
            await loser.journal.append(encode(start), start)
        assert loser.position.term == 1

    run(body())


def test_a_record_that_no_log_takes_is_final() -> None:
    """A batch over 4 MiB can never be written: trying again would be for ever."""

    async def body() -> None:
        broker, leader = await led()
        with pytest.raises(Final, match=f"{TOPIC}: the log will not take a record"):
            await leader.append(bytes(MAX_RECORD_BYTES))
        assert broker.records(TOPIC)[1:] == []

    run(body())


def test_a_reader_at_a_lost_end_stops() -> None:
    """Also without appending: the log ends before what was read, and stays so; for a moment it may seem to."""

    async def body() -> None:
        broker, leader = await led()
        await leader.append()
        broker.truncate(TOPIC, 1)
        assert not await leader.journal.read_to_tail()
        await asyncio.sleep(TAIL_LOST_AFTER_MS / 1000)
        with pytest.raises(OffsetBeyondTail, match="ends at offset 1, but 2 was read"):
            await leader.journal.read_to_tail()

    run(body())


@pytest.mark.parametrize("lose", [1, 2])
def test_a_log_that_lost_its_end_stops_the_leader(lose: int) -> None:
    """What was read as effective is gone: whatever is written there now would be another history."""

    async def body() -> None:
        broker, leader = await led()
        for _ in range(2):
            await leader.append()
        broker.truncate(TOPIC, 3 - lose)
        with pytest.raises(OffsetBeyondTail, match="the log lost its end"):
            await leader.append()

    run(body())


def test_what_was_acknowledged_is_effective_once() -> None:
    """Under any mix of faults: each append that returned is in the final history, once, in its order."""
    for seed in range(100):
        print(f"seed {seed}")
        run(under_faults(seed))


async def under_faults(seed: int) -> None:
    """Appends until one stays unresolved, then compares with what everybody reads in the end."""
    broker, leader = await led(seed)
    chance = Random(seed)
    broker.faults = Faults(
        drop=0.15, refuse=0.15, duplicate=0.15, unknown=0.15, late=0.2, delay=0.5, delay_max_ms=4_000
    )
    acknowledged: list[bytes] = []
    try:
        while len(acknowledged) < 10:
            acknowledged.append(await leader.append(chance.randbytes(8)))
    except Unresolved:
        pass  # that one may or may not be there
    final = await effective(broker)
    assert final[: len(acknowledged)] == acknowledged
    assert len(final) <= len(acknowledged) + 1
