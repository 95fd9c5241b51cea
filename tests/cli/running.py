"""A command that runs until it is stopped, and the processes below it."""

import json
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.cli.shell import BENNU, environment
from tests.stack.processes import alive, until

END_TIMEOUT_S = 30.0
"""Three seconds are promised; this is for a machine that has other things to do, or a slow disk."""


IN_THE_BACKGROUND = ("/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh")
"""A shell has what it runs by `… &` ignore SIGINT; our commands must heed it all the same."""


class Running:
    """`bennu ARGUMENTS`, its output line by line, and what it started."""

    def __init__(self, folder: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> None:
        self._err = folder / "stderr"
        with self._err.open("w") as err:
            self.process = subprocess.Popen(
                [*IN_THE_BACKGROUND, *BENNU, *arguments],
                cwd=folder,
                env=environment(environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=err,
                text=True,
            )

    def lines(self) -> Iterator[str]:
        """What it prints, as it comes; ends when the command does."""
        assert self.process.stdout is not None
        return (line.rstrip("\n") for line in self.process.stdout)

    def read_until(self, words: str) -> list[str]:
        """The lines up to the one with these words."""
        seen: list[str] = []
        for line in self.lines():
            seen.append(line)
            if words in line:
                return seen
        raise AssertionError(f"it ended without saying {words!r}:\n{seen}\n{self.errors()}")

    def first_json(self) -> dict[str, Any]:
        """Its first line, as an object."""
        found: dict[str, Any] = json.loads(self.read_until("")[0])
        return found

    def errors(self) -> str:
        """What it has written on standard error."""
        return self._err.read_text()

    def below(self) -> dict[int, str]:
        """Command line by process id, of everything that it has started and that runs."""
        return below(self.process.pid)

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def wait(self) -> int:
        """Its exit code; fails when it does not end in time."""
        return self.process.wait(END_TIMEOUT_S)

    def close(self) -> None:
        """kill -9, if it still runs."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def running(folder: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Start it; it does not outlive the block, and neither does anything that it started."""
    command = Running(folder, *arguments, environ=environ)
    try:
        yield command
    finally:
        left = command.below()
        command.close()
        until(lambda: not any(map(alive, left)), END_TIMEOUT_S)


@contextmanager
def folder_for_all() -> Iterator[Path]:
    """A folder that Postgres can reach, which does not run as root."""
    with TemporaryDirectory(prefix="bennu-test-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def below(pid: int) -> dict[int, str]:
    """The children of a process, and theirs, that live: command line by process id."""
    found: dict[int, str] = {}
    parents = {pid}
    while parents:
        parents = {child for child, parent in _parents().items() if parent in parents and child not in found}
        found |= {child: _command(child) for child in parents}
    return {child: command for child, command in found.items() if alive(child)}


def _parents() -> dict[int, int]:
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(") ")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found[int(stat.parent.name)] = int(fields[1])
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
