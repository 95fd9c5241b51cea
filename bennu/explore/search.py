"""Going through worlds: all of them up to a number of faults, and a sample with more.

Depth first over worlds, each gone through once for each number of faults left: what two paths lead to alike goes on
alike (Godefroid, "Partial-Order Methods for the Verification of Concurrent Systems", 1996, calls it state matching).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from time import monotonic
from typing import NamedTuple

from bennu.errors import BennuError
from bennu.explore.judge import Judged
from bennu.explore.values import Event, Path, World
from bennu.explore.world import Model

MAX_STEPS = 400
MAX_FAILURES = 100
"""Found on whatever paths; then it is enough."""
MISSED = "no path ends {}; if that is right, let the scenario say how some path ends: ends=(...)"


class Failure(NamedTuple):
    """A path, and what is wrong at its end."""

    why: str
    path: Path


class Explored:
    """What was found so far."""

    def __init__(self, model: Model, now_s: Callable[[], float] = monotonic) -> None:
        self.model = model
        self.worlds = 0
        self.paths = 0
        """Ends of paths that differ, and of all samples."""
        self.samples = 0
        self.ends: Counter[str] = Counter()
        self._found = 0
        self._failures: dict[str, Path] = {}
        self.complete = False
        self._now_s = now_s

    @property
    def failures(self) -> Sequence[Failure]:
        """What is wrong, each once and with the simplest path to it; the simplest first."""
        found = sorted(self._failures.items(), key=lambda item: _pains(item[1]))
        ends = self.model.scenario.ends if self.complete and self.ends else ()
        missed = [Failure(MISSED.format(end), ()) for end in ends if not self.ends[end]]
        return [*(Failure(*each) for each in found), *missed]

    def all(self, faults: int, until_s: float) -> None:
        """Every order of events with up to so many faults; `complete` says whether there was time for it."""
        left: dict[World, int] = {}
        todo: list[tuple[World, int, Path]] = [(self.model.start(), faults, ())]
        while todo:
            if self._now_s() > until_s or self._found >= MAX_FAILURES:
                return
            world, more, path = todo.pop()
            if left.get(world, -1) >= more:
                continue
            left[world] = more
            self.worlds += 1
            if len(path) >= MAX_STEPS:
                self._fail(f"it does not end within {MAX_STEPS} events", path)
                continue
            events = list(self.model.possible(world, more))
            if not events or all(event.fault for event in events):
                self._over(world, path)
            for event in reversed(events):
                after = self._after(world, event, path)
                if after is not None:
                    todo.append((after, more - event.fault, (*path, event)))
        self.complete = True

    def sample(self, count: int, faults: int, *, chance: Random, until_s: float) -> None:
        """Paths drawn by chance, with up to so many faults each."""
        start = self.model.start()
        for _ in range(count):
            if self._now_s() > until_s or self._found >= MAX_FAILURES:
                return
            self.samples += 1
            self._walk(start, faults, chance)

    def _walk(self, world: World, faults: int, chance: Random) -> None:
        path: Path = ()
        while len(path) < MAX_STEPS:
            ordinary, faulty = _parted(list(self.model.possible(world, faults)))
            if not ordinary:
                self._over(world, path)
                return
            event = chance.choice(faulty if faulty and chance.random() < faults / 16 else ordinary)
            after = self._after(world, event, path)
            if after is None:
                return
            world, faults, path = after, faults - event.fault, (*path, event)
        self._fail(f"it does not end within {MAX_STEPS} events", path)

    def _after(self, world: World, event: Event, path: Path) -> World | None:
        try:
            after = self.model.after(world, event)
        except BennuError as error:
            self._fail(f"{type(error).__name__}: {error}", (*path, event))
            return None
        for why in after.raised:
            if why not in world.raised:
                self._fail(why, (*path, event))
        return after

    def _over(self, world: World, path: Path) -> None:
        self.paths += 1
        judged = Judged(self.model, world, path)
        self.ends.update(judged.ends)
        for why in judged.wrong:
            self._fail(why, path)

    def _fail(self, why: str, path: Path) -> None:
        self._found += 1
        known = self._failures.get(why)
        if known is None or _pains(path) < _pains(known):
            self._failures[why] = path


def _pains(path: Path) -> tuple[int, int]:
    """What it costs to follow a path: faults, then steps."""
    return sum(event.fault for event in path), len(path)


def _parted(events: Sequence[Event]) -> tuple[list[Event], list[Event]]:
    return [each for each in events if not each.fault], [each for each in events if each.fault]
