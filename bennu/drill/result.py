"""What a drill found, for people and for programs."""

import math
from dataclasses import dataclass, field

from bennu.drill.checks import Findings
from bennu.drill.gaps import distribution, nearest_rank

COUNTED = (
    "lost",
    "duplicated",
    "stale_acknowledgements",
    "changed_replies",
    "refused_but_applied",
    "not_asked",
    "unanswered",
)
"""Findings that are told by their number, also where it is 0."""


@dataclass(frozen=True)
class Run:
    """One fault, and how long the partition hit worst gave no answer."""

    text: str
    gap_ms: float
    partition: int
    healed_ms: float | None
    """From the fault's end to a new command's success in every partition; None where there was nothing to heal."""
    slowest_ms: float
    """The longest that any command of this run had to wait, from the moment at which it was to be sent."""

    def sentence(self) -> str:
        healed = "" if self.healed_ms is None else f"all partitions answer {self.healed_ms:.0f} ms after it healed; "
        return (
            f"{self.text}: gap {self.gap_ms:.0f} ms (partition {self.partition}); {healed}"
            f"slowest command {self.slowest_ms:.0f} ms"
        )


@dataclass
class Result:
    """Of all runs."""

    runs: list[Run] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)
    acknowledged: int = 0
    refused: int = 0
    """Of these, refused by the domain: acknowledged as well."""
    retried: int = 0
    repeated: int = 0
    made_void: int = 0
    """Commands in batches of leaders whose time was over: what fencing made void."""
    money_conserved: bool = False
    digests_equal: bool = False
    latency_ms: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Everything that must not be, in words."""

    def gaps_ms(self) -> list[float]:
        return [run.gap_ms for run in self.runs]

    def numbers(self) -> dict[str, object]:
        """For a program."""
        gaps = self.gaps_ms()
        return {
            "runs": len(self.runs),
            **self.counts(),
            "money_conserved": self.money_conserved,
            "digests_equal": self.digests_equal,
            **{f"gap_p{percent}_ms": _finite(nearest_rank(gaps, percent)) for percent in (50, 99)},
            "gap_max_ms": _finite(max(gaps)),
            "acknowledged": self.acknowledged,
            "refused": self.refused,
            "retried": self.retried,
            "repeated": self.repeated,
            "made_void": self.made_void,
            **{f"latency_p{percent}_ms": _finite(nearest_rank(self.latency_ms, percent)) for percent in (50, 99)},
            "healed_max_ms": _finite(max(run.healed_ms or 0.0 for run in self.runs)),
            "problems": self.problems,
        }

    def counts(self) -> dict[str, int]:
        """How many commands each promise was broken for."""
        return {name: len(getattr(self.findings, name)) for name in COUNTED}

    def _judgement(self) -> str:
        counts = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in self.counts().items())
        money, digests = ("yes" if held else "NO" for held in (self.money_conserved, self.digests_equal))
        return f"{counts}; money conserved: {money}; digests equal: {digests}"

    def lines(self) -> list[str]:
        """For a person."""
        gaps = self.gaps_ms()
        p50, p99 = nearest_rank(gaps, 50), nearest_rank(gaps, 99)
        return [
            f"gap over {len(gaps)} runs: p50 {p50:.0f} ms, p99 {p99:.0f} ms, longest {max(gaps):.0f} ms",
            *distribution(gaps),
            f"{self.acknowledged} commands acknowledged, {self.refused} of them as refused by the domain",
            f"{self.retried} were sent more than once; {self.made_void} stand in batches that came too late",
            self._judgement(),
            *(f"WRONG: {problem}" for problem in self.problems),
        ]


def _finite(value: float) -> float | None:
    """JSON knows no infinity: None is a gap that had no end while the drill waited."""
    return round(value, 1) if math.isfinite(value) else None
