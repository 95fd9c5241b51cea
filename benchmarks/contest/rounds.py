"""Rounds by turns: in each everybody is measured once, so that what else the machine does meanwhile hits all alike."""

import gc
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.contest.place import Place
from benchmarks.contest.port import Entrant, Round, figures

Say = Callable[[str], object]
Figures = dict[str, object]


async def compete(
    entrants: Sequence[Entrant], folder: Path, *, rounds: int, seconds: float, say: Say
) -> dict[str, Figures]:
    """Figures of each, by name."""
    found: dict[str, list[Round]] = {each.name: [] for each in entrants}
    async with AsyncExitStack() as closing:
        place = Place(folder, closing)
        for each in entrants:
            say(f"preparing {each.name}")
            await each.prepare(place)
        for number in range(rounds):
            for each in entrants:
                gc.collect()
                measured = await each.round(seconds)
                say(f"round {number + 1} of {rounds}: {each.name} {measured.per_second:,.0f}/s")
                found[each.name].append(measured)
    return {name: figures(measured) for name, measured in found.items()}
