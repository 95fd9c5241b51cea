"""Two lives of one name: at once, which is a mistake, or one after another, which is a restart."""

import asyncio

import pytest

from bennu.errors import BadSettings
from tests.members.beats import beat, seat
from tests.members.groups import BEAT_S, FIRST, SILENCE_S, TERM, THIRD, TOPIC, cluster, virtually


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
