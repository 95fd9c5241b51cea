"""Journaled time: never back, with the monotonic clock, slewed to wall time by at most 1 %."""

from hypothesis import given
from hypothesis import strategies as st

from bennu.replica.clock import JournalClock
from bennu.testing.clock import START_US, ManualClock

SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US


def test_it_begins_at_wall_time() -> None:
    """A leader with a good clock journals wall time."""
    assert JournalClock(ManualClock(), START_US - HOUR_US).now_us() == START_US


def test_it_begins_where_the_journal_ended_if_the_wall_clock_was_set_back() -> None:
    """Time that was journaled is not journaled again."""
    assert JournalClock(ManualClock(), START_US + HOUR_US).now_us() == START_US + HOUR_US


def test_it_moves_with_the_monotonic_clock() -> None:
    """A second is a second while the clocks agree."""
    clock = ManualClock()
    journal = JournalClock(clock, 0)
    clock.advance_us(SECOND_US)
    assert journal.now_us() == START_US + SECOND_US


def test_a_jump_of_the_wall_clock_is_followed_slowly() -> None:
    """An hour forward or back is caught up by one part in a hundred of the time that passes."""
    for jump_us, expected_us in ((HOUR_US, 101 * SECOND_US), (-HOUR_US, 99 * SECOND_US)):
        clock = ManualClock()
        journal = JournalClock(clock, 0)
        clock.set_wall(jump_us)
        clock.advance_us(100 * SECOND_US)
        assert journal.now_us() == START_US + expected_us


def test_a_small_difference_is_made_good() -> None:
    """Within the 1 % it lands on wall time, and not beyond."""
    clock = ManualClock()
    journal = JournalClock(clock, 0)
    clock.set_wall(5_000)
    clock.advance_us(SECOND_US)
    assert journal.now_us() == clock.wall_us()


@given(st.lists(st.tuples(st.integers(0, HOUR_US), st.integers(-HOUR_US, HOUR_US)), max_size=50))
def test_it_never_goes_back(steps: list[tuple[int, int]]) -> None:
    """However the wall clock is set, and however often time is read: each reading is at least the one before."""
    clock = ManualClock()
    journal = JournalClock(clock, 0)
    last_us = journal.now_us()
    for passed_us, jump_us in steps:
        clock.set_wall(jump_us)
        clock.advance_us(passed_us)
        now_us = journal.now_us()
        assert 0 <= now_us - last_us <= passed_us * 1.01 + 2
        last_us = now_us
