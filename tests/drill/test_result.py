"""What a drill says at its end."""

import pytest

from bennu.drill.checks import Findings
from bennu.drill.result import Result, Run

RUN = Run("kill n1", gap_ms=1300, partition=0, healed_ms=None, slowest_ms=1400)


@pytest.mark.parametrize("lost", [[], ["a", "b"]], ids=["kept", "broken"])
def test_a_person_reads_what_was_judged_also_where_all_is_well(lost: list[str]) -> None:
    """That nothing was lost is what the drill was for: it is said, and not left to be concluded from silence."""
    result = Result([RUN], Findings(lost=lost), latency_ms=[1.0], money_conserved=True, digests_equal=not lost)
    said = "\n".join(result.lines())
    assert f"lost {len(lost)}, duplicated 0, stale acknowledgements 0, changed replies 0" in said
    assert f"money conserved: yes; digests equal: {'NO' if lost else 'yes'}" in said
    assert result.numbers()["lost"] == len(lost)
