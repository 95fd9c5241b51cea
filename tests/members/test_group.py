"""Processes of a service over a log in memory, in virtual time: how they hear one another, and what follows."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from random import Random

import pytest

from bennu.errors import BadSettings
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.members import records
from bennu.members.group import Group, Identity
from bennu.members.limits import HEARTBEAT_MS, SETTLE_MS, SILENCE_MS
from bennu.members.placement import ranked
from bennu.testing.clock import SimulatedClock
from bennu.testing.loop import OWNER, Owner, VirtualTimeLoop, run
from bennu.v1.members_pb2 import HandoverAsked, Heartbeat, Seat
from tests.members.beats import SERVICE, beat, seat

TOPIC = "bank-members"
NODES = ranked(0, frozenset(("a", "b", "c")))
FIRST, SECOND, THIRD = NODES
SILENCE_S, BEAT_S = SILENCE_MS / 1000, HEARTBEAT_MS / 1000
TERM = 7
AT_MOST_S = 120.0
"""Heartbeats go on for ever, so a wait that is in vain has to be ended."""


class Holder:
    """A partition's part that only remembers what it was told."""

    def __init__(self, mine: Seat) -> None:
        self.number = 0
        self.mine = mine
        self.turns: list[int] = []
        self.heirs: list[tuple[str, bool]] = []
        self.leader = ""
        self.changed = asyncio.Event()

    def seat(self) -> Seat:
        return self.mine

    def your_turn(self, epoch: int) -> None:
        self.turns.append(epoch)
        self.changed.set()

    def hand_over(self, successor: str, *, pinned: bool) -> None:
        self.heirs.append((successor, pinned))
        self.changed.set()

    def led_by(self, node: str) -> None:
        self.leader = node


class Node:
    """A process, as far as its group is concerned."""

    def __init__(self, broker: MemoryBroker, name: str, mine: Seat, *, service: str = SERVICE) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        self._loop = loop
        self.name = name
        self.owner = Owner(name)
        self.holder = Holder(mine)
        clock, chance = SimulatedClock(loop.time), Random(f"{name}{loop.time()}")
        self.group = Group(MemoryLog(broker), TOPIC, Identity(service, name), clock=clock, chance=chance)
        self.group.join(self.holder)
        OWNER.set(self.owner)
        self.run = loop.create_task(self.group.run())
        OWNER.set(None)

    def pause(self) -> None:
        self.owner.paused = True

    def resume(self) -> None:
        self._loop.resume(self.owner)


class Cluster:
    """The broker, and the processes that were started on it."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.broker.create(TOPIC)
        self.nodes: list[Node] = []

    def start(self, name: str, mine: Seat, *, service: str = SERVICE) -> Node:
        node = Node(self.broker, name, mine, service=service)
        self.nodes.append(node)
        return node

    def led_by_last(self) -> tuple[Node, ...]:
        """THIRD leads, the others follow."""
        return tuple(self.start(name, seat(4, TERM, leads=name == THIRD)) for name in NODES)

    def say(self, record: Heartbeat | HandoverAsked) -> None:
        self.broker.topic(TOPIC).land(records.encode(record))


@asynccontextmanager
async def cluster() -> AsyncIterator[Cluster]:
    made = Cluster()
    try:
        yield made
    finally:
        for node in made.nodes:
            node.resume()
            node.run.cancel()
        await asyncio.wait([node.run for node in made.nodes])


def virtually(work: Coroutine[None, None, None]) -> None:
    run(work, advance_s=AT_MOST_S)


def test_a_leader_that_ends_is_missed_by_the_first_in_rank() -> None:
    """Who follows is told once silence has lasted, and who leads is known until then."""

    async def scene() -> None:
        async with cluster() as there:
            first, second, third = there.led_by_last()
            await asyncio.sleep(SILENCE_S)
            assert (first.holder.leader, second.holder.leader, third.holder.leader) == (THIRD, THIRD, THIRD)
            third.run.cancel()
            await first.holder.changed.wait()
            assert first.holder.turns[0] == 4
            assert second.holder.turns == []

    virtually(scene())


def test_a_leader_that_beats_is_never_missed() -> None:
    """However little it has to do."""

    async def scene() -> None:
        async with cluster() as there:
            first, second, third = there.led_by_last()
            third.holder.mine.pinned = True
            await asyncio.sleep(20 * SILENCE_S)
            assert first.holder.turns == second.holder.turns == []

    virtually(scene())


def test_a_paused_leader_is_missed_and_a_paused_follower_misses_nobody() -> None:
    """The one that slept finds itself behind, not alone."""

    async def scene() -> None:
        async with cluster() as there:
            first, second, third = there.led_by_last()
            third.holder.mine.pinned = True
            await asyncio.sleep(SILENCE_S)
            first.pause()
            await asyncio.sleep(5 * SILENCE_S)
            first.resume()
            await asyncio.sleep(5 * SILENCE_S)
            assert first.holder.turns == second.holder.turns == []
            third.pause()
            await first.holder.changed.wait()
            assert first.holder.turns[0] == 4

    virtually(scene())


def test_the_preferred_node_is_given_the_partition_once() -> None:
    """After it was there for a while; the leader is told to whom, and not that an operator wanted it."""

    async def scene() -> None:
        async with cluster() as there:
            _, _, third = there.led_by_last()
            await third.holder.changed.wait()
            assert third.holder.heirs == [(FIRST, False)]
            assert asyncio.get_running_loop().time() >= SETTLE_MS / 1000

    virtually(scene())


def test_a_pinned_partition_stays_where_it_is() -> None:
    """An operator's choice holds against the ranking."""

    async def scene() -> None:
        async with cluster() as there:
            _, _, third = there.led_by_last()
            third.holder.mine.pinned = True
            await asyncio.sleep(10 * SETTLE_MS / 1000)
            assert third.holder.heirs == []

    virtually(scene())


def test_an_operator_names_the_next_leader() -> None:
    """Whoever leads hands over to a live node that may lead; other names are passed over."""

    async def scene() -> None:
        async with cluster() as there:
            first, second, third = there.led_by_last()
            await asyncio.sleep(BEAT_S)
            for node in ("gone", THIRD, SECOND):
                there.say(HandoverAsked(service=SERVICE, partition=0, node=node))
            there.say(HandoverAsked(service="saga", partition=0, node=FIRST))
            await third.holder.changed.wait()
            await asyncio.sleep(BEAT_S)
            assert third.holder.heirs == [(SECOND, True)]
            assert first.holder.heirs == second.holder.heirs == []

    virtually(scene())


def test_an_old_wish_of_an_operator_is_not_carried_out_again() -> None:
    """A process that starts reads what was asked for before, and leaves it at that."""

    async def scene() -> None:
        async with cluster() as there:
            first, second, third = there.led_by_last()
            await asyncio.sleep(BEAT_S)
            third.run.cancel()
            there.say(HandoverAsked(service=SERVICE, partition=0, node=SECOND))
            again = there.start(THIRD, seat(4, TERM, leads=True))
            await asyncio.sleep(BEAT_S)
            assert again.holder.heirs == first.holder.heirs == second.holder.heirs == []

    virtually(scene())


def test_of_two_processes_of_one_name_the_later_one_stops() -> None:
    """It says what is wrong; the one that was there before goes on, also where the other's first words were lost."""

    async def scene() -> None:
        async with cluster() as there:
            earlier = there.start(FIRST, seat(4, TERM, leads=True))
            await asyncio.sleep(10 * SILENCE_S)
            later = there.start(FIRST, seat(4, TERM))
            with pytest.RaisesGroup(pytest.RaisesExc(BadSettings, match=f"another process .* is called {FIRST}")):
                await later.run
            await asyncio.sleep(10 * SILENCE_S)
            assert not earlier.run.done()

    virtually(scene())


def test_a_second_process_of_one_name_takes_nothing_from_anybody() -> None:
    """Its name's partitions stay where they are, for the others as for itself, while it is there and afterwards."""

    async def scene() -> None:
        async with cluster() as there:
            first, second, third = there.led_by_last()
            third.holder.mine.pinned = True
            await asyncio.sleep(3 * SILENCE_S)
            twin = there.start(THIRD, seat(4, TERM))
            with pytest.RaisesGroup(pytest.RaisesExc(BadSettings)):
                await twin.run
            for _ in range(40):
                await asyncio.sleep(BEAT_S / 2)
                assert (first.holder.leader, second.holder.leader, third.holder.leader) == (THIRD, THIRD, THIRD)
            assert [node.holder.turns for node in (first, second, twin)] == [[], [], []]

    virtually(scene())


def test_a_later_life_waits_while_an_earlier_one_is_heard_and_no_longer() -> None:
    """Also where the earlier one is slow to name it: it proposes nothing that is its name's."""

    async def scene() -> None:
        async with cluster() as there:
            twin = there.start(FIRST, seat(0, 0))
            for count in range(1, 20):
                there.say(beat(FIRST, count, seat(0, 0), life=1, began_at=0))
                await asyncio.sleep(BEAT_S)
                assert twin.holder.turns == []
            began_s = asyncio.get_running_loop().time()
            await twin.holder.changed.wait()
            assert asyncio.get_running_loop().time() - began_s <= SILENCE_S

    virtually(scene())


def test_a_killed_process_that_starts_again_waits_no_longer_than_for_its_silence() -> None:
    """That its own last life was heard a moment ago costs it nothing."""

    async def scene() -> None:
        async with cluster() as there:
            old = there.start(FIRST, seat(4, TERM, leads=True))
            await asyncio.sleep(3 * SILENCE_S)
            old.run.cancel()
            began_s = asyncio.get_running_loop().time()
            new = there.start(FIRST, seat(4, TERM))
            await new.holder.changed.wait()
            assert new.holder.turns == [4]
            assert asyncio.get_running_loop().time() - began_s < SILENCE_S + BEAT_S

    virtually(scene())


def test_what_a_dead_life_left_behind_stops_no_new_one() -> None:
    """However many of its heartbeats land late."""

    async def scene() -> None:
        async with cluster() as there:
            old = there.start(FIRST, seat(4, TERM, leads=True))
            await asyncio.sleep(3 * SILENCE_S)
            old.run.cancel()
            left = [body for body in there.broker.records(TOPIC) if body is not None]
            new = there.start(FIRST, seat(4, TERM))
            for body in left:
                await asyncio.sleep(BEAT_S)
                there.broker.topic(TOPIC).land(body)
            assert not new.run.done()
            assert new.holder.turns[0] == 4

    virtually(scene())


def test_another_services_processes_are_no_peers() -> None:
    """Of the same name, on the same log: they stop nobody, lead nothing here and are followed by nobody."""

    async def scene() -> None:
        async with cluster() as there:
            saga = there.start(FIRST, seat(9, TERM, leads=True), service="saga")
            cserver = there.start(FIRST, seat(4, TERM))
            await cserver.holder.changed.wait()
            assert cserver.holder.leader == ""
            await asyncio.sleep(5 * SILENCE_S)
            assert not saga.run.done()
            assert not cserver.run.done()

    virtually(scene())


def test_records_that_make_no_sense_are_passed_over() -> None:
    """Anybody may write to the log of members, and a newer build may say what this one does not know."""

    async def scene() -> None:
        async with cluster() as there:
            first, _, third = there.led_by_last()
            third.holder.mine.pinned = True
            await asyncio.sleep(BEAT_S)
            for body in (b"\xff\xff", b"no record", b"\x08\x63", records.encode(Heartbeat(service=SERVICE))):
                there.broker.topic(TOPIC).land(body)
            await asyncio.sleep(3 * SILENCE_S)
            assert first.holder.turns == []
            third.run.cancel()
            await first.holder.changed.wait()

    virtually(scene())


@pytest.mark.parametrize("loses", ["end", "beginning"])
def test_a_log_that_loses_records_is_listened_to_from_its_end(loses: str) -> None:
    """Heartbeats are worth nothing once they are old, so none that is lost is missed."""

    async def scene() -> None:
        async with cluster() as there:
            first, _, third = there.led_by_last()
            third.holder.mine.pinned = True
            await asyncio.sleep(3 * SILENCE_S)
            first.pause()
            await asyncio.sleep(BEAT_S)
            topic = there.broker.topic(TOPIC)
            if loses == "end":
                there.broker.truncate(TOPIC, 1)
            else:
                there.broker.expire_before(TOPIC, topic.end)
            first.resume()
            await asyncio.sleep(5 * SILENCE_S)
            assert first.holder.turns == []
            assert first.holder.leader == THIRD
            third.run.cancel()
            await first.holder.changed.wait()

    virtually(scene())


def test_who_leaves_says_so() -> None:
    """Its peers do not wait for it to be silent before they pass it over."""

    async def scene() -> None:
        async with cluster() as there:
            first, second, _ = there.led_by_last()
            await asyncio.sleep(BEAT_S)
            await first.group.leave()
            first.run.cancel()
            await asyncio.sleep(0.01)
            assert second.group.successor(0) == THIRD

    virtually(scene())
