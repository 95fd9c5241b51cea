"""What takes part in a contest: one interface for Bennu, for what a team would pick instead, and for the ceilings."""

from collections.abc import Sequence
from math import ceil
from statistics import median
from typing import NamedTuple, Protocol

from benchmarks.contest.place import Place

SAMPLES = 1_000
"""A p99.9 of fewer says nothing."""


class Round(NamedTuple):
    """One measurement."""

    commands: int
    """Carried out, each durable."""
    seconds: float
    latencies_ms: Sequence[float] = ()
    """Of the commands; empty where it can't be told."""
    server_cpu_s: float = 0.0
    client_cpu_s: float = 0.0
    refused: int = 0
    """Commands that were turned away; not among `commands`."""

    @property
    def per_second(self) -> float:
        return self.commands / self.seconds


class Entrant(Protocol):
    """One way to have commands carried out."""

    @property
    def name(self) -> str:
        """Of parts from the general to the particular, with slashes; unique in a contest."""

    async def prepare(self, place: Place) -> None:
        """Start what is needed, make the accounts, warm up; what is to be ended goes to `place.closing`."""

    async def round(self, seconds: float) -> Round:
        """Measure for about so long.  Raises `Unavailable` when a command was not carried out that should be."""


def nearest_rank(values: Sequence[float], percent: float) -> float:
    """The smallest value that this share of all does not exceed.  `values` ascend, and there is one."""
    return values[max(0, ceil(percent / 100 * len(values)) - 1)]


def figures(rounds: Sequence[Round]) -> dict[str, object]:
    """Medians over the rounds: of the rates, and of each round's percentiles."""
    found: dict[str, object] = {
        "commands_per_second": round(median(each.per_second for each in rounds)),
        "rounds": [round(each.per_second) for each in rounds],
    }
    ascending = [sorted(each.latencies_ms) for each in rounds if each.latencies_ms]
    for name, percent in (("p50_ms", 50.0), ("p99_ms", 99.0), ("p999_ms", 99.9)):
        told = [nearest_rank(values, percent) for values in ascending if percent < 99.5 or len(values) >= SAMPLES]
        if told:
            found[name] = round(median(told), 2)
    for name in ("server_cpu_s", "client_cpu_s"):
        used = [getattr(each, name) / each.commands * 1e6 for each in rounds if each.commands]
        if any(used):
            found[name.replace("_s", "_us_per_command")] = round(median(used), 1)
    if refused := sum(each.refused for each in rounds):
        found["refused"] = refused
    return found
