"""Slices of long work: none while a step of other work follows from the one before, and one at a time."""

import asyncio
import itertools
from collections.abc import Callable

import pytest

from bennu.limits import (
    CALM_FOR_US,
    FEW_APPENDS,
    GATHER_LONGER_MS,
    GATHER_MS,
    GATHER_TURNS,
    IDLE_TURN_US,
    KNOWN_SLICERS,
    LEFT_TO_OTHERS,
    TURNS_BETWEEN_SLICES,
)
from bennu.replica.pauses import Pauses
from bennu.testing.loop import run

BUSY_S = (GATHER_MS + GATHER_LONGER_MS) / 1000


class Others:
    """Work of so many turns, and what it took of the time."""

    def __init__(self) -> None:
        self.now_us = 0
        self.turns = 0

    async def work(self, turns: int, each_us: int) -> None:
        """So many steps."""
        for _ in range(turns):
            self.now_us += each_us
            self.turns += 1
            await asyncio.sleep(0)


def turns_before_a_slice(work: int, each_us: int) -> int:
    """How many turns of others' work one pause leaves them."""

    async def paused() -> int:
        others = Others()
        working = asyncio.create_task(others.work(work, each_us))
        await Pauses(lambda: others.now_us).pause()
        found = others.turns
        await working
        return found

    return run(paused())


async def several_do_slices(count: int, each: int, count_turns: Callable[[], int]) -> list[int]:
    """The turns in which a slice was done, of so many who do some each."""
    pauses, done = Pauses(), list[int]()

    async def sliced() -> None:
        for _ in range(each):
            await pauses.pause()
            done.append(count_turns())

    await asyncio.gather(*(sliced() for _ in range(count)))
    return done


async def slices_by_turn(count: int, each: int) -> list[int]:
    """The same, with the turns counted."""
    others = Others()
    counting = asyncio.create_task(others.work(1_000, 0))
    done = await several_do_slices(count, each, lambda: others.turns)
    counting.cancel()
    return done


def test_a_slice_waits_for_work_of_others_to_end() -> None:
    """Steps that follow from one another are not interrupted, and then nothing is waited for."""
    assert turns_before_a_slice(5, IDLE_TURN_US + 1) == 5


def test_others_hold_up_a_slice_for_so_many_turns() -> None:
    """Who always has something to do has some turns between two slices, and not all."""
    assert turns_before_a_slice(100, IDLE_TURN_US + 1) == TURNS_BETWEEN_SLICES


def test_two_slices_are_never_done_in_one_turn() -> None:
    """However many do long work, a turn of the loop has one slice of it, and all come to theirs."""
    done = run(slices_by_turn(4, 5))
    assert len(done) == 20
    assert len(set(done)) == len(done)


async def rested_us(arrivals: bool) -> int:
    """How long one that does slices of 500 us, a hundred of them, rests, while another is served without or is not."""
    loop = asyncio.get_running_loop()
    sliced_us = 0
    pauses = Pauses(lambda: int(loop.time() * 1_000_000) + sliced_us)
    for _ in range(100):
        await pauses.pause("hot")
        pauses.arrived(1, "hot", "flood")
        if arrivals:
            pauses.arrived(1, "calm", "caller")
        sliced_us += 500
    return int(loop.time() * 1_000_000)


def test_a_share_is_left_to_whoever_does_without_slices() -> None:
    """As much as is said; nothing while nobody else is there, however much comes in for the one that needs slices."""
    assert run(rested_us(arrivals=False)) == 0
    assert run(rested_us(arrivals=True)) >= 0.9 * 99 * 500 * LEFT_TO_OTHERS


def test_where_all_need_slices_nobody_rests() -> None:
    """Two that flood are not calm callers of one another: only before the other's first slice is one waited for."""

    async def both() -> int:
        loop = asyncio.get_running_loop()
        sliced_us = 0
        pauses = Pauses(lambda: int(loop.time() * 1_000_000) + sliced_us)
        await pauses.pause("one")
        await pauses.pause("two")
        for _ in range(100):
            for who in ("one", "two"):
                pauses.arrived(1, who, f"client of {who}")
                await pauses.pause(who)
                sliced_us += 500
        return int(loop.time() * 1_000_000)

    assert run(both()) == 0
    assert CALM_FOR_US > 100 * 500, "all of it is within the time that one stays known for slices"


def test_who_sends_many_at_once_is_no_calm_caller() -> None:
    """A load that is spread over partitions, so that none of them needs slices, is not held back for its own sake."""

    async def rested_us() -> int:
        loop = asyncio.get_running_loop()
        sliced_us = 0
        pauses = Pauses(lambda: int(loop.time() * 1_000_000) + sliced_us)
        for number in range(100):
            pauses.needs_slices("stream")
            await pauses.pause()
            pauses.arrived(1, f"partition {number % 8}", "stream")
            pauses.arrived(12, f"partition {number % 8}", "a command log")
            sliced_us += 500
        return int(loop.time() * 1_000_000)

    assert run(rested_us()) == 0


def test_clients_that_left_are_forgotten() -> None:
    """Each connection is a client of its own: those of long ago are not kept."""

    async def known() -> int:
        now_us = 0
        pauses = Pauses(lambda: now_us)
        for number in range(10 * KNOWN_SLICERS):
            pauses.needs_slices(f"client {number}")
            now_us += CALM_FOR_US // 100
        return len(pauses._sliced_us)

    assert run(known()) <= KNOWN_SLICERS


def gathered(work: int, each_us: int) -> tuple[int, float]:
    """How many turns of others' work come before a batch is closed, and how long a timer was waited for."""

    async def gather() -> tuple[int, float]:
        others = Others()
        working = asyncio.create_task(others.work(work, each_us))
        assert await Pauses(lambda: others.now_us).gather(few=True)
        found = others.turns
        working.cancel()
        return found, asyncio.get_running_loop().time()

    return run(gather())


def test_a_batch_waits_for_calls_on_their_way_only() -> None:
    """Nothing, when nobody is at work; until they are done, when few turns are left of it."""
    assert gathered(0, 0) == (0, 0.0)
    assert gathered(GATHER_TURNS - 1, IDLE_TURN_US + 1) == (GATHER_TURNS - 1, 0.0)


def test_a_busy_loop_keeps_a_batch_open_for_so_long() -> None:
    """And no longer, although it is busy still."""
    assert gathered_behind(0, one_is_done=False) == BUSY_S


def test_a_batch_is_closed_once_a_busy_loop_has_nothing_left_to_do() -> None:
    """Who waits for it would wait for nothing: all that were on their way are in it."""
    assert gathered(GATHER_TURNS + 1, IDLE_TURN_US + 1) == (GATHER_TURNS + 1, GATHER_MS / 1000)


def test_a_batch_that_has_not_few_commands_waits_where_nobody_calm_is_served_only() -> None:
    """Who sends one command at a time would wait with it."""

    async def gather(*, calm: bool) -> bool:
        pauses = Pauses(lambda: CALM_FOR_US)
        pauses.arrived(1 if calm else 2, "topic", "client")
        return await pauses.gather(few=False)

    assert run(gather(calm=False))
    assert not run(gather(calm=True))


def gathered_behind(appends: int, *, one_is_done: bool, count: int = 1) -> float:
    """In a loop that is always busy, with so many appends on their way: how long timers were waited for."""

    async def gather() -> float:
        ticks, never = itertools.count(step=IDLE_TURN_US + 1), asyncio.Event()
        pauses = Pauses(lambda: next(ticks))
        appending = [asyncio.create_task(_wait(never)) for _ in range(appends - one_is_done)]
        appending += [asyncio.create_task(Others().work(20, 1))] * one_is_done
        for append in appending:
            pauses.append(append)
        await asyncio.gather(*(pauses.gather(few=True) for _ in range(count)))
        for append in appending:
            append.cancel()
        return asyncio.get_running_loop().time()

    return run(gather())


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


def test_in_a_busy_loop_a_small_batch_waits_for_one_of_several_others_to_be_appended() -> None:
    """But no longer than for anything: the log of all of them may be away."""
    assert gathered_behind(FEW_APPENDS, one_is_done=True) == 0.0
    assert gathered_behind(FEW_APPENDS, one_is_done=False) == GATHER_MS / 1000


def test_several_gather_one_after_the_other() -> None:
    """Each turn of one would keep the others from an idle one; and who waits in line has gathered when it is first."""
    assert gathered_behind(FEW_APPENDS, one_is_done=False, count=3) == pytest.approx(3 * GATHER_MS / 1000)
    assert gathered_behind(0, one_is_done=False, count=3) == BUSY_S
