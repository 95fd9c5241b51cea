"""How gaps are measured and told."""

import asyncio
import math

import pytest

from bennu.drill.calls import Answer, Call, Command
from bennu.drill.gaps import FirstAnswers, Silence, distribution, nearest_rank


def answered(partition: int, intended_s: float, at_s: float, *, batch_no: int = 1) -> Call:
    command = Command("id", "type", b"", partition)
    return Call(command, intended_s, 1, Answer(at_s, "n1", 0, b"", f"topic-{partition}:{batch_no}"))


def test_the_gap_is_that_of_the_partition_hit_worst() -> None:
    """From the fault to the first answer to a command that was to be sent after it; earlier ones do not count."""
    gap = FirstAnswers(10.0, [1, 2])
    for call in (
        answered(1, 9.9, 10.5),
        answered(3, 10.1, 10.2),
        answered(1, 10.1, 11.0),
        answered(2, 10.2, 12.5),
        answered(1, 10.2, 13.0),
    ):
        gap(call)
    assert gap.worst == (2.5, 2)
    assert asyncio.run(gap.wait(0))


def test_a_partition_that_never_answers_counts_for_ever() -> None:
    """A gap without an end is not left out."""
    gap = FirstAnswers(10.0, [1, 2])
    gap(answered(1, 10.0, 10.1))
    assert not asyncio.run(gap.wait(0))
    assert gap.worst == (math.inf, 2)


def test_a_handover_s_gap_is_the_silence_around_it() -> None:
    """From the last answer on the old leader's last batch to the first on a newer one."""

    async def around() -> float:
        silence = Silence(0.5, 1)
        for at_s, batch_no in ((1.0, 4), (1.5, 5), (1.7, 7), (2.0, 5), (2.5, 8)):
            silence(answered(1, 0.0, at_s, batch_no=batch_no))
        silence(answered(2, 0.0, 1.6, batch_no=6))
        return await silence.around(5)

    assert asyncio.run(around()) == pytest.approx(0.2)


def test_a_handover_s_gap_begins_with_the_request_if_nothing_is_answered_after_it() -> None:
    """There may be no further answer of the old leader."""

    async def around() -> float:
        silence = Silence(0.5, 1)
        silence(answered(1, 0.0, 0.75, batch_no=6))
        return await silence.around(5)

    assert asyncio.run(around()) == 0.25


def test_percentiles_are_values_that_occurred() -> None:
    """Nearest rank: of fifty gaps the 99th percentile is the longest."""
    values = [float(number) for number in range(50, 0, -1)]
    assert [nearest_rank(values, percent) for percent in (0, 50, 99, 100)] == [1, 25, 50, 50]
    assert nearest_rank([7.0], 50) == 7.0


def test_each_gap_is_in_one_line_of_the_distribution() -> None:
    """Also one without an end."""
    lines = distribution([24.0, 25.0, 30.0, 1300.0, math.inf])
    assert [line.split()[-2] for line in lines] == ["1", "2", "1", "1"]
    assert "10000 ms and more" in lines[-1]
