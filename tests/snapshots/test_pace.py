"""Who takes a snapshot beside a leader rests, in proportion to the work."""

import asyncio

import pytest

from bennu.snapshots.limits import REST, WORK_MS
from bennu.snapshots.pace import Resting
from bennu.testing import loop as virtual


@pytest.mark.parametrize(("worked_ms", "rested_ms"), [(WORK_MS / 2, 0), (WORK_MS, WORK_MS * REST), (50, 50 * REST)])
def test_rest_is_a_multiple_of_the_work(worked_ms: float, rested_ms: float) -> None:
    """A large record is followed by a long rest, and many small ones by one for all of them."""

    async def work() -> None:
        clock = asyncio.get_running_loop().time
        turn = Resting(clock)
        await asyncio.sleep(worked_ms / 1000)
        began_s = clock()
        await turn()
        assert (clock() - began_s) * 1000 == pytest.approx(rested_ms)

    virtual.run(work())


def test_small_work_is_added_up() -> None:
    """Records of a few commands are read without a rest after each, and still not without one."""

    async def work() -> None:
        clock = asyncio.get_running_loop().time
        turn = Resting(clock)
        began_s = clock()
        for _ in range(20):
            await asyncio.sleep(WORK_MS / 1000 / 4)
            await turn()
        assert (clock() - began_s) * 1000 == pytest.approx(5 * WORK_MS * (1 + REST), rel=0.01)

    virtual.run(work())


def test_waiting_is_no_work() -> None:
    """A replay that waited for Postgres to answer, or behind others for the processor, has disturbed nobody."""

    async def work() -> None:
        loop = asyncio.get_running_loop()
        turn = Resting(lambda: 0.0)
        await asyncio.sleep(5)
        await turn()
        assert loop.time() == 5

    virtual.run(work())
