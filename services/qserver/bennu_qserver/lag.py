"""How far a projection is behind its journal in one partition."""

from collections import deque
from typing import NamedTuple


class Lag(NamedTuple):
    """Of one projection in one partition; all zero when it has caught up."""

    batches: int
    """Journal records that are not projected."""
    events: int
    """Read and not yet written."""
    ms: int
    """Age of the first batch that was read and is not written."""


NO_LAG = Lag(0, 0, 0)


class Waiting:
    """Recorded times of the batches that were read; those that are written by now are forgotten when it is asked."""

    def __init__(self) -> None:
        self._read: deque[tuple[int, int]] = deque()

    def read(self, offset: int, recorded_at_us: int) -> None:
        """A batch was read."""
        self._read.append((offset, recorded_at_us))

    def age_ms(self, offset: int, now_s: float) -> int:
        """Of the first one that stands at `offset` or later; 0 if there is none."""
        while self._read and self._read[0][0] < offset:
            self._read.popleft()
        return max(0, round(now_s * 1000 - self._read[0][1] / 1000)) if self._read else 0
