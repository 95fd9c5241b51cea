"""How fast a line empties: commands answered a second, measured while any wait."""

from collections.abc import Callable

from bennu.limits import DRAIN_SAMPLE_MS, RETRY_HINT_MAX_MS, RETRY_HINT_MS

NEWEST = 0.5
"""Weight of the newest sample in the mean: after four more, little is left of it."""


class Drain:
    """An exponentially weighted mean over samples of at least `DRAIN_SAMPLE_MS`."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._now_s = monotonic_s
        self._per_s = 0.0
        self._count = 0
        self._since_s = 0.0

    def begin(self) -> None:
        """Something waits from now on; the time before was idle and says nothing."""
        self._count = 0
        self._since_s = self._now_s()

    def count(self, commands: int) -> None:
        """So many were answered."""
        self._count += commands
        took_s = self._now_s() - self._since_s
        if took_s * 1000 >= DRAIN_SAMPLE_MS:
            newest = self._count / took_s
            self._per_s = newest if not self._per_s else NEWEST * newest + (1 - NEWEST) * self._per_s
            self._count = 0
            self._since_s += took_s

    def time_ms(self, commands: int) -> int:
        """How long so many take; bounded, and a guess while nothing was measured."""
        stalled_s = self._now_s() - self._since_s
        per_s = self._per_s
        if stalled_s * 1000 > DRAIN_SAMPLE_MS:  # nothing was answered for longer than that, as when the log is away
            per_s = min(per_s, (self._count + 1) / stalled_s)
        if not per_s:
            return RETRY_HINT_MS
        return int(min(max(commands / per_s * 1000, RETRY_HINT_MS), RETRY_HINT_MAX_MS))
