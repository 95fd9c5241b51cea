"""Processes of a service: how they hear one another, and what follows."""

import asyncio
from collections.abc import Sequence

import pytest

from bennu.members import records
from bennu.members.limits import SETTLE_MS
from bennu.v1.members_pb2 import HandoverAsked, Heartbeat, Seat
from tests.members.beats import SERVICE, released, seat
from tests.members.groups import BEAT_S, FIRST, SECOND, SILENCE_S, TERM, THIRD, TOPIC, cluster, virtually


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


def test_who_is_named_beside_the_log_need_not_wait_for_it() -> None:
    """The leader tells every live process that has an address; who is named acts at once, if it is its leadership."""

    async def scene() -> None:
        async with cluster() as there:
            first, second, third = there.led_by_last()
            third.holder.mine.pinned = True
            told: list[tuple[Sequence[str], Seat]] = []
            third.group.tell_by(lambda addresses, seat: told.append((addresses, seat)))
            await asyncio.sleep(SILENCE_S)
            for wrong in (released(4, SECOND, term=8), released(5, SECOND, term=TERM), seat(4, TERM, leads=True)):
                second.group.heard_release(wrong)
            await asyncio.sleep(BEAT_S)
            assert second.holder.turns == []
            third.group.gave_up(released(4, SECOND, term=TERM))
            ((addresses, said),) = told
            assert sorted(addresses) == sorted((FIRST, SECOND))
            second.group.heard_release(said)
            began_s = asyncio.get_running_loop().time()
            await second.holder.changed.wait()
            assert second.holder.turns[0] == 4
            assert asyncio.get_running_loop().time() - began_s < BEAT_S / 10
            assert first.holder.turns == []

    virtually(scene())


def test_what_was_given_up_is_said_in_the_log_once() -> None:
    """Also where the next one leads before the heartbeat is made, and is followed by then."""

    async def scene() -> None:
        async with cluster() as there:
            first, _, third = there.led_by_last()
            await asyncio.sleep(SILENCE_S)
            third.group.gave_up(released(4, SECOND, term=TERM))
            third.holder.mine = seat(5, 9)
            third.group.changed()
            await asyncio.sleep(BEAT_S / 2)
            release = first.group.directory.released(seat(4, TERM))
            assert release is not None
            assert release.successor == SECOND
            peer = first.group.directory.peer(THIRD)
            assert peer is not None
            assert peer.seats[0].epoch == 5

    virtually(scene())
