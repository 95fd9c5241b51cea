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
from bennu.explore.world import Event, Model, World

Path = tuple[Event, ...]
MAX_STEPS = 400
MAX_FAILURES = 20


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
        self.failures: list[Failure] = []
        self.complete = False
        self._now_s = now_s

    def all(self, faults: int, until_s: float) -> None:
        """Every order of events with up to so many faults; `complete` says whether there was time for it."""
        left: dict[World, int] = {}
        todo: list[tuple[World, int, Path]] = [(self.model.start(), faults, ())]
        while todo:
            if self._now_s() > until_s or len(self.failures) >= MAX_FAILURES:
                return
            world, more, path = todo.pop()
            if left.get(world, -1) >= more:
                continue
            left[world] = more
            self.worlds += 1
            if len(path) >= MAX_STEPS:
                self.failures.append(Failure(f"it does not end within {MAX_STEPS} events", path))
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
            if self._now_s() > until_s or len(self.failures) >= MAX_FAILURES:
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
        self.failures.append(Failure(f"it does not end within {MAX_STEPS} events", path))

    def _after(self, world: World, event: Event, path: Path) -> World | None:
        try:
            return self.model.after(world, event)
        except BennuError as error:
            self.failures.append(Failure(f"{type(error).__name__}: {error}", (*path, event)))
            return None

    def _over(self, world: World, path: Path) -> None:
        self.paths += 1
        judged = Judged(self.model, world)
        self.ends.update(judged.ends)
        self.failures += [Failure(why, path) for why in judged.wrong]


def _parted(events: Sequence[Event]) -> tuple[list[Event], list[Event]]:
    return [each for each in events if not each.fault], [each for each in events if each.fault]
