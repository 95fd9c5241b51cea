"""One server process that this process owns: started, waited for, killed, started again.

Everything here blocks, and everything has a deadline; async callers use `asyncio.to_thread`.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from bennu.errors import Unavailable
from bennu.stack import guard

READY_TIMEOUT_S = 60.0
"""A cold JVM on a busy two-core machine takes a quarter of this."""
END_TIMEOUT_S = 10.0
"""SIGKILL takes milliseconds; a process stuck in the kernel longer than this is worth an error."""
POLL_S = 0.01
LAST_LINES = 20


@dataclass(frozen=True)
class Program:
    """What to run, and the words in its output that mean it serves."""

    name: str
    command: Sequence[str]
    ready: str
    uid: int = os.getuid()
    gid: int = os.getgid()
    environ: Mapping[str, str] | None = None
    """Its variables; None: those of this process."""
    folder: str = "/"
    """Where it runs."""
    boots: int = 1
    """So often at most it is started, when it ends by itself before it serves."""


class EndedEarly(Unavailable):
    """It ended before it served."""


class Child:
    """A program with a guard as its parent: when this process dies, by any means, the program dies too.

    `start` and `kill` may be called again and again, from any thread, one at a time.
    """

    def __init__(self, program: Program, output: Path) -> None:
        self.program = program
        self.output = output
        self._guard: subprocess.Popen[bytes] | None = None
        self._from = 0

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._guard is not None and self._guard.poll() is None

    @property
    def pid(self) -> int:
        """The server's own process id.  Raises `Unavailable` when it does not run."""
        words = self._text().partition("bennu: pid ")[2].split(maxsplit=1)
        if not self.running or not words:
            raise Unavailable(f"{self.program.name} does not run: start it first")
        return int(words[0])

    def start(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Start, and return when it serves.  Raises `Unavailable` with its last lines; then nothing is left over."""
        for boots_left in reversed(range(self.program.boots)):
            self.spawn()
            try:
                self.wait_ready(timeout_s)
                return
            except EndedEarly:
                if not boots_left:
                    raise

    def spawn(self) -> None:
        """Start without waiting; a program that runs already is left alone."""
        if self.running:
            return
        self.kill()  # closes what a process that ended by itself left open
        self._from = self.output.stat().st_size if self.output.exists() else 0
        program = self.program
        launcher = [sys.executable, "-I", "-S", guard.__file__, str(program.uid), str(program.gid)]
        with self.output.open("ab") as output:
            self._guard = subprocess.Popen(
                [*launcher, *program.command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=program.folder,
                env=program.environ,
                bufsize=0,
                start_new_session=True,  # Ctrl-C is for the owner, which then ends its children in order
            )

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Return when the program says that it serves; otherwise end it and raise `Unavailable`."""
        deadline = time.monotonic() + timeout_s
        while self.program.ready not in self._text():
            if not self.running:
                self._give_up("ended before it was ready", EndedEarly)
            if time.monotonic() > deadline:
                self._give_up(f"was not ready after {timeout_s:.0f} s")
            time.sleep(POLL_S)

    def kill(self) -> None:
        """kill -9, and wait until the process is gone.  Harmless when it does not run."""
        if self._guard is None:
            return
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        if not self._ended_within(END_TIMEOUT_S):
            raise Unavailable(f"{self.program.name} lives {END_TIMEOUT_S:.0f} s after SIGKILL: look at the disk")

    def stop(self, number: signal.Signals, grace_s: float) -> None:
        """Ask politely with a signal; kill what still runs after the grace."""
        self.send(number)
        self.wait_ended(grace_s)

    def wait_ended(self, grace_s: float) -> None:
        """Return when it has ended; kill what still runs after the grace."""
        if self._guard is not None:
            self._ended_within(grace_s)
        self.kill()

    def send(self, number: signal.Signals) -> None:
        """A signal for the program, if it runs."""
        if not self.running:
            return
        assert self._guard is not None
        assert self._guard.stdin is not None
        # It ended just now, or another thread is killing it: both are at least what was asked.
        with suppress(BrokenPipeError, ValueError):
            self._guard.stdin.write(bytes([number]))

    def _ended_within(self, timeout_s: float) -> bool:
        assert self._guard is not None
        try:
            self._guard.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _give_up(self, why: str, kind: type[Unavailable] = Unavailable) -> NoReturn:
        said = self.last_lines()
        self.kill()
        raise kind(f"{self.program.name} {why}. Its whole output is in {self.output}; the last lines:\n{said}")

    def last_lines(self) -> str:
        """For a person who asks why it ended."""
        return "\n".join(self._text().splitlines()[-LAST_LINES:])

    def _text(self) -> str:
        """What the program wrote since it was last started."""
        if not self.output.exists():
            return ""
        with self.output.open("rb") as output:
            output.seek(self._from)
            return output.read().decode(errors="replace")
