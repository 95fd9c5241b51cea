"""What a drill of projections found, for people and for programs."""

from collections import Counter
from dataclasses import dataclass, field

from bennu.drill.gaps import nearest_rank
from bennu.drill.limits import LIVE_LAG_MS
from bennu.drill.readers import Reader
from bennu.drill.workload import Compared


@dataclass
class TableResult:
    """Of all checks, all reads and all faults."""

    checks: list[Compared] = field(default_factory=list)
    rebuilds_s: list[float] = field(default_factory=list)
    """The first one is undisturbed."""
    live_lags_ms: list[float] = field(default_factory=list)
    """Of each row that came during the first one, and a little before and after."""
    fault_lags_ms: list[float] = field(default_factory=list)
    """Of those that came later."""
    faults: Counter[str] = field(default_factory=Counter)
    reads: int = 0
    mixed_reads: int = 0
    unbalanced_reads: int = 0
    problems: list[str] = field(default_factory=list)
    """Everything that must not be, in words."""

    def take(self, compared: Compared) -> None:
        """One more check."""
        self.checks.append(compared)
        if compared.mismatches:
            told = "; ".join(compared.told)
            self.problems.append(f"check {len(self.checks)}: {compared.mismatches} rows are not as recomputed: {told}")

    def judge(self, reader: Reader, *, bounded: bool) -> None:
        """What was read, and whether live tables kept up, if they had to."""
        self.reads, self.mixed_reads, self.unbalanced_reads = reader.reads, reader.mixed, reader.unbalanced
        self.problems += reader.told
        if not self.live_lags_ms:
            self.problems.append("no row came during the first rebuild")
        elif bounded and max(self.live_lags_ms) >= LIVE_LAG_MS:
            self.problems.append(f"live tables were {max(self.live_lags_ms):.0f} ms old during the first rebuild")

    def numbers(self) -> dict[str, object]:
        """For a program."""
        last = self.checks[-1]
        return {
            "events": last.events,
            "rows": last.rows,
            "checks": len(self.checks),
            "mismatches": sum(check.mismatches for check in self.checks),
            "reads": self.reads,
            "mixed_reads": self.mixed_reads,
            "unbalanced_reads": self.unbalanced_reads,
            "rebuilds": len(self.rebuilds_s),
            "rebuild_seconds": round(self.rebuilds_s[0], 2),
            "live_lag_max_ms": _rounded(max(self.live_lags_ms, default=None)),
            "lag_p99_ms": _rounded(nearest_rank(self.live_lags_ms, 99) if self.live_lags_ms else None),
            "fault_lag_max_ms": _rounded(max(self.fault_lags_ms, default=None)),
            "faults": dict(self.faults),
            "problems": self.problems,
        }

    def lines(self) -> list[str]:
        """For a person."""
        told = ((name.replace("_", " "), value) for name, value in self.numbers().items() if name != "problems")
        return [*(f"{name:24} {value}" for name, value in told), *(f"WRONG: {problem}" for problem in self.problems)]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
