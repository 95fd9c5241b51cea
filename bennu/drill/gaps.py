"""How long nobody answered: from a fault to the first answer, in the partition hit worst."""

import asyncio
import math
from collections.abc import Iterable, Sequence

from bennu.drill.calls import Call

BARS = 40
STEPS_MS = (25, 50, 100, 200, 400, 800, 1200, 1600, 2000, 3000, 5000, 10_000, math.inf)


class FirstAnswers:
    """A watcher: the first answer in each of these partitions to a command that was to be sent after a moment."""

    def __init__(self, since_s: float, partitions: Iterable[int]) -> None:
        self.since_s = since_s
        self.at_s: dict[int, float] = {}
        self.missing = set(partitions)
        self._all = asyncio.Event()

    def __call__(self, call: Call) -> None:
        assert call.answer is not None
        if call.intended_s >= self.since_s and call.command.partition in self.missing:
            self.missing.discard(call.command.partition)
            self.at_s[call.command.partition] = call.answer.at_s
            if not self.missing:
                self._all.set()

    async def wait(self, timeout_s: float) -> bool:
        """Until each partition has answered; whether all have by then."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._all.wait()
        except TimeoutError:
            return False
        return True

    @property
    def worst(self) -> tuple[float, int]:
        """Seconds, and the partition; one that never answered counts for ever."""
        if self.missing:
            return math.inf, min(self.missing)
        at_s, number = max((at_s, number) for number, at_s in self.at_s.items())
        return at_s - self.since_s, number


class Silence:
    """A watcher: when which batch of one partition was acknowledged, from a moment on."""

    def __init__(self, since_s: float, number: int) -> None:
        self._since_s = since_s
        self._number = number
        self._heard: list[tuple[float, int]] = []
        self._more = asyncio.Event()

    def __call__(self, call: Call) -> None:
        assert call.answer is not None
        if call.command.partition == self._number and call.answer.token:
            self._heard.append((call.answer.at_s, int(call.answer.token.rpartition(":")[2])))
            self._more.set()

    async def around(self, batch_no: int) -> float:
        """Seconds from the last answer that rests on this batch or an older one, to the first on a newer one."""
        while not any(number > batch_no for _, number in self._heard):
            self._more.clear()
            await self._more.wait()
        first_s = min(at_s for at_s, number in self._heard if number > batch_no)
        before = [at_s for at_s, number in self._heard if number <= batch_no and at_s <= first_s]
        return first_s - max(before, default=self._since_s)


def nearest_rank(values: Sequence[float], percent: float) -> float:
    """The smallest value that this share of all does not exceed."""
    return sorted(values)[max(0, math.ceil(percent / 100 * len(values)) - 1)]


def distribution(gaps_ms: Sequence[float]) -> list[str]:
    """Lines that show how many gaps were how long."""
    lines, below = [], 0.0
    for step in STEPS_MS:
        number = sum(below <= gap < step or gap == step == math.inf for gap in gaps_ms)
        label = f"{below:6.0f} ms and more" if step == math.inf else f"{below:6.0f} to {step:5.0f} ms"
        if number:
            lines.append(f"{label:20} {number:4} {'#' * math.ceil(BARS * number / len(gaps_ms))}")
        below = step
    return lines
