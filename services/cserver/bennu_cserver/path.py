"""Where the time of a call goes: the stages of its way through this process, of one call in sixteen.

A call is one command, or a frame of them, in a partition that this process leads.  With 100 commands a frame the
clock is read a dozen times for 1,600 commands, and seven histograms are told: 0.02 us a command.
"""

from itertools import pairwise
from time import perf_counter

from bennu.ops.metrics import SECONDS, Metrics
from bennu.ops.stages import NAME, STAGES
from bennu.replica.leader import Sealing

EVERY = 16
BUCKETS = (0.0001, 0.0002, 0.0005, *SECONDS)


class Path:
    """One call's times, by `perf_counter`; a time that never came is 0."""

    __slots__ = ("arrived_s", "begun_s", "decided_s", "effective_s", "lined_s", "sealing")

    def __init__(self) -> None:
        self.arrived_s = perf_counter()
        self.lined_s = self.begun_s = self.decided_s = self.effective_s = 0.0
        self.sealing = Sealing(0.0, 0.0)

    def lined(self) -> None:
        """It is in line, and may have been in another one before, which was given up."""
        self.lined_s = perf_counter()
        self.begun_s = self.decided_s = self.effective_s = 0.0

    def begun(self) -> None:
        """Its first command is decided next."""
        self.begun_s = self.begun_s or perf_counter()

    def decided(self) -> None:
        """Its last command was."""
        self.decided_s = perf_counter()

    def effective(self, sealing: Sealing) -> None:
        """Its answers are true, by the batch that was sealed then."""
        self.effective_s = perf_counter()
        # What changes nothing may be answered by a batch that was sealed before.
        done = self.effective_s
        self.sealing = sealing if sealing.began_s >= self.decided_s else Sealing(done, done)

    def stages_s(self, answered_s: float) -> tuple[float, ...]:
        """How long each of `STAGES` took."""
        before = self.arrived_s, self.lined_s, self.begun_s, self.decided_s
        times = *before, *self.sealing, self.effective_s, answered_s
        return tuple(end - begin for begin, end in pairwise(times))


class Paths:
    """Samples calls, and tells their stages as metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._calls = 0
        self._stages = [
            metrics.histogram(NAME, "Of one call in sixteen.", buckets=BUCKETS, stage=stage) for stage in STAGES
        ]

    def sample(self) -> Path | None:
        """Of a call that has just come, if it is its turn."""
        self._calls += 1
        return Path() if self._calls % EVERY == 0 else None

    def answered(self, path: Path | None) -> None:
        """Its answer is on its way.  One that was refused, or that another process answered, has no stages here."""
        if path is not None and path.effective_s:
            for stage, took_s in zip(self._stages, path.stages_s(perf_counter()), strict=True):
                stage.observe(took_s)
