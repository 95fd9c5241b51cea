"""A drill as a command, from its start to what it leaves behind."""

import json
from pathlib import Path
from typing import Any

from tests.cli.running import running
from tests.stack.processes import alive


def drilled(folder: Path, *arguments: str, until: str) -> dict[str, Any]:
    """The numbers of its last line.

    It must succeed, and leave no file, and no process that ran at the line with the words `until`.
    """
    with running(folder, *arguments, environ={"TMPDIR": str(folder / "tmp")}) as command:
        output = command.read_until(until)
        below = command.below()
        output += command.lines()
        code = command.process.wait()
        assert (command.errors(), code) == ("", 0), output
        assert [line for pid, line in below.items() if alive(pid)] == []
    assert list((folder / "tmp").iterdir()) == []
    numbers: dict[str, Any] = json.loads(output[-1])
    return numbers
