"""A change that makes each command dearer is seen as what it is: counted, since timed tests fail for other reasons."""

import pytest

from benchmarks import hot_path


def test_a_command_costs_what_was_written_down() -> None:
    """Either way: a gain that nobody writes down lets later changes eat it up unseen."""
    committed = hot_path.committed()
    if committed is None:
        pytest.skip(f"no cost was written down for Python {hot_path.PYTHON}: python -m benchmarks.hot_path --write")
    measured = hot_path.measured()
    for what, now, before in zip(measured._fields, measured, committed, strict=True):
        assert abs(now / before - 1) <= hot_path.MARGIN, (
            f"{what} of a command: {now}, {before} were committed. If that is meant: "
            "python -m benchmarks.hot_path --write, and say in the commit what it is for"
        )


def test_what_is_added_to_the_hot_path_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of our own code; what others run meanwhile is not."""
    counter = hot_path.Counter()

    def work() -> int:
        return len([len(str(number)) for number in range(10)])

    with counter.counting():
        work()
    assert (counter.instructions, counter.c_calls) == (0, 0)
    monkeypatch.setattr(hot_path, "OURS", (__file__,))
    with counter.counting():
        work()
    assert counter.instructions > 50
    assert counter.c_calls == 11
