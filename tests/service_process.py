"""One service as a real process, in a loop: killed, started again, watched."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20


class Service:
    """One service process.  Its log lines go to a file, its first line on stdout says where its ports are."""

    def __init__(self, name: str, flags: list[str], *, directory: Path, environ: dict[str, str]) -> None:
        self.name = name
        self.announced: dict[str, str] = {}
        self._flags = flags
        self._environ = environ
        self.stderr = directory / f"{name}.log"
        self._process: subprocess.Popen[str] | None = None

    async def start(self) -> None:
        """Start it and learn its ports; raises with its last lines if it ends instead."""
        with self.stderr.open("a") as stderr:
            self._process = self._popen(stderr)
        reading = asyncio.create_task(asyncio.to_thread(self._first_line))
        if not (await asyncio.wait((reading,), timeout=START_TIMEOUT_S))[0]:
            self.kill()  # else the thread would read on
        if not (line := await reading):
            raise AssertionError(f"{self.name} ended at start:\n{self.stderr.read_text()[-2000:]}")
        self.announced = json.loads(line)

    def _popen(self, stderr: IO[str]) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", f"bennu_{self.name}", *self._flags]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, env=self._environ, text=True)

    def _first_line(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to stop; its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; the exit code."""
        assert self._process is not None
        code = self._process.wait(STOP_TIMEOUT_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None
        return code

    def lines(self) -> list[str]:
        """What it has logged."""
        return self.stderr.read_text().splitlines()
