"""`bennu drill sagas` on the embedded log: real processes, killed while transfers run."""

import json
from pathlib import Path

import pytest

from tests.cli.running import running
from tests.stack.processes import alive

SMALL = ("drill", "sagas", "--log", "sqlite", "--sagas", "300", "--rate", "60", "--every-s", "1", "--json")


@pytest.mark.real
def test_every_saga_ends_and_nothing_is_left(folder: Path) -> None:
    """Exit code 0; the last line has the numbers; no process, no folder."""
    with running(folder, *SMALL, environ={"TMPDIR": str(folder / "tmp")}) as command:
        output = command.read_until("kill -9 of")
        below = command.below()
        output += command.lines()
        code = command.process.wait()
        assert (command.errors(), code) == ("", 0), output
        assert [line for pid, line in below.items() if alive(pid)] == []
    assert list((folder / "tmp").iterdir()) == []
    numbers = json.loads(output[-1])
    assert (numbers["started"], numbers["stuck"], numbers["problems"]) == (300, 0, [])
    assert numbers["completed"] + numbers["compensated"] == 300
    assert numbers["compensated"] > 0
    assert numbers["money_conserved"] is numbers["digests_equal"] is True
    assert all(numbers["kills"].values())
