"""Time as an input: a port with two readings, and the journal's own time made from them."""

import time
from typing import Protocol

SLEW = 0.01
"""Journaled time runs at most this much faster or slower than the monotonic clock."""


class Clock(Protocol):
    """What a process can know of time, in microseconds."""

    def wall_us(self) -> int:
        """Since 1970; may jump."""

    def monotonic_us(self) -> int:
        """Since anything; never goes back."""


class SystemClock:
    """The machine's clocks."""

    def wall_us(self) -> int:
        return time.time_ns() // 1000  # noqa: TID251 - the one place that reads the wall clock

    def monotonic_us(self) -> int:
        return time.monotonic_ns() // 1000


class JournalClock:
    """Journaled time of one leadership: never decreases, moves with the monotonic clock, slews to wall time.

    It starts at wall time, or at the last journaled time if the wall clock was set back behind it.
    """

    def __init__(self, clock: Clock, last_us: int) -> None:
        self._clock = clock
        self._now_us = max(last_us, clock.wall_us())
        self._read_us = clock.monotonic_us()

    def now_us(self) -> int:
        """Microseconds since 1970, as the journal counts them."""
        read_us = self._clock.monotonic_us()
        passed_us = read_us - self._read_us
        self._read_us = read_us
        behind_us = self._clock.wall_us() - (self._now_us + passed_us)
        slew_us = int(passed_us * SLEW)
        self._now_us += passed_us + max(-slew_us, min(slew_us, behind_us))
        return self._now_us
