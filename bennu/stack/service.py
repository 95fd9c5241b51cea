"""One of Bennu's services as a process that this one owns."""

import http.client
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bennu.errors import Unavailable
from bennu.stack.child import READY_TIMEOUT_S, Child, Program

ANNOUNCED = '"ops": "'
"""In the line that a service prints once its ports are bound; see `bennu.ops.run.Running.announce`."""
PROBE_TIMEOUT_S = 2.0
POLL_S = 0.02
STOP_GRACE_S = 1.2


class Service(Child):
    """`python -m bennu_NAME FLAGS`, or of another module.

    `start` returns when its ports are bound, `wait_serving` when it serves.
    """

    def __init__(
        self, name: str, flags: Sequence[str], folder: Path, *, environ: Mapping[str, str], module: str = ""
    ) -> None:
        command = [sys.executable, "-m", module or f"bennu_{name}", *flags]
        here = str(Path.cwd())  # an app may live in the current folder
        program = Program(name, command, ANNOUNCED, environ=environ, folder=here)
        super().__init__(program, folder / f"{name}.out")

    @property
    def addresses(self) -> dict[str, str]:
        """What it announced: `ops`, and `grpc` if it has one.  Raises `Unavailable` when it did not."""
        for line in self.lines():
            if ANNOUNCED in line:
                return dict(json.loads(line))
        raise Unavailable(f"{self.program.name} has announced no ports")

    def lines(self) -> list[str]:
        """What it wrote since it was last started."""
        return self._text().splitlines()

    def wait_serving(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Return when `/readyz` says so.  Raises `Unavailable` with the reason why not, or its last lines."""
        deadline = time.monotonic() + timeout_s
        host, _, port = self.addresses["ops"].rpartition(":")
        said = "nothing"
        while time.monotonic() < deadline:
            if not self.running:
                self._give_up("ended before it was ready")
            status, said = _readyz(host, int(port))
            if status == http.client.OK:
                return
            time.sleep(POLL_S)
        raise Unavailable(f"{self.program.name} is not ready after {timeout_s:.0f} s; /readyz says {said}")

    def last_lines(self) -> str:
        """The reason that it gave when it ended, if it could give one; else its last lines."""
        for line in reversed(self.lines()):
            if line.startswith("{") and '"event": "stopped"' in line:
                reason: object = json.loads(line).get("reason")
                return f"{reason}" if reason else line
        return super().last_lines()


def _readyz(host: str, port: int) -> tuple[int, str]:
    connection = http.client.HTTPConnection(host, port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return 0, repr(error)
    finally:
        connection.close()


def told_of_postgres(environ: Mapping[str, str], dsn: str) -> dict[str, str]:
    """These variables, and where Postgres is; not a flag, which everybody on a machine can see."""
    told = {**environ, "BENNU_POSTGRES": dsn}
    told.pop("BENNU_POSTGRES_FILE", None)
    return told


def clean_environ() -> dict[str, str]:
    """Our variables without Bennu's own: a suite is told everything by flags.

    And with bytecode kept: compiling all modules anew costs each process most of a second of its start.
    """
    left_out = {"PYTHONDONTWRITEBYTECODE"}
    return {name: value for name, value in os.environ.items() if not name.startswith("BENNU_") and name not in left_out}
