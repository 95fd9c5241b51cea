"""How long a caller waits for an answer that does not come."""

import asyncio

from bennu.testing.loop import run
from bennu_cserver.waits import GAVE_UP, Waits

PATIENCE_S = 30.0


async def ends_s(begun_s: list[float]) -> list[float]:
    """When those who began then hear that nobody answers."""
    loop, waits = asyncio.get_running_loop(), Waits(PATIENCE_S)

    async def wait(at_s: float) -> float:
        await asyncio.sleep(at_s)
        assert await waits.begin() == GAVE_UP
        return loop.time()

    return list(await asyncio.gather(*map(wait, begun_s)))


def test_each_waits_equally_long() -> None:
    """One timer serves all, and each still has its own time; also one that began when nobody waited any more."""
    assert run(ends_s([1.0, 1.5, 20.0, 100.0])) == [31.0, 31.5, 50.0, 130.0]


def test_who_was_answered_is_not_answered_again() -> None:
    """One answered, or that gave up itself, is passed over when its time is over; those behind it are not."""

    async def answers() -> tuple[int, bool, int, float]:
        waits = Waits(PATIENCE_S)
        answered, left, unanswered = waits.begin(), waits.begin(), waits.begin()
        answered.set_result(7)
        left.cancel()
        return await answered, left.cancelled(), await unanswered, asyncio.get_running_loop().time()

    assert run(answers()) == (7, True, GAVE_UP, PATIENCE_S)


def test_what_was_answered_is_let_go() -> None:
    """A server that answers thousands a second does not hold those of the last half minute."""

    async def held() -> int:
        waits = Waits(PATIENCE_S)
        for number in range(100):
            waits.begin().set_result(number)
        return len(waits)

    assert run(held()) == 1
