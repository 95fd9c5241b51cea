"""A clock under a test's control: drifting, set back, set forward."""

from collections.abc import Callable

START_US = 1_800_000_000_000_000
"""Wall time at which simulated clocks begin, in microseconds since 1970."""


class SimulatedClock:
    """One process's clocks, made from a time that all share.  See `bennu.replica.clock.Clock`."""

    def __init__(self, time_s: Callable[[], float], *, drift: float = 0.0, wall_offset_us: int = 0) -> None:
        self._time_s = time_s
        self._rate = 1.0 + drift
        self._wall_offset_us = wall_offset_us

    def monotonic_us(self) -> int:
        """Since the shared beginning, at this clock's own rate."""
        return int(self._time_s() * self._rate * 1_000_000)

    def wall_us(self) -> int:
        """Since 1970, wherever it was set."""
        return START_US + self._wall_offset_us + self.monotonic_us()

    def set_wall(self, by_us: int) -> None:
        """Set the wall clock forward, or back with a negative number."""
        self._wall_offset_us += by_us


class ManualClock(SimulatedClock):
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now_s = 0.0
        super().__init__(lambda: self.now_s)

    def advance_us(self, by_us: int) -> None:
        """Let time pass."""
        self.now_s += by_us / 1_000_000
