"""`bennu drill sagas` on the embedded log: real processes, killed while transfers run."""

from pathlib import Path

import pytest

from tests.drill.drilled import drilled

SMALL = ("drill", "sagas", "--log", "sqlite", "--sagas", "300", "--rate", "60", "--every-s", "1", "--json")


@pytest.mark.real
def test_every_saga_ends_and_nothing_is_left(folder: Path) -> None:
    """Exit code 0; the last line has the numbers; no process, no folder."""
    numbers = drilled(folder, *SMALL, until="kill -9 of")
    assert (numbers["started"], numbers["stuck"], numbers["problems"]) == (300, 0, [])
    assert numbers["completed"] + numbers["compensated"] == 300
    assert numbers["compensated"] > 0
    assert numbers["money_conserved"] is numbers["digests_equal"] is True
    assert all(numbers["kills"].values())
