"""Looking at processes from outside, for tests about who ends with whom."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from bennu.stack.child import Child, Program
from bennu.stack.commands import until as wait_until

SHELL = "/bin/sh"
LISTEN = "0A"
LOOPBACK = {"0100007F": "127.0.0.1", "0000000000000000FFFF00000100007F": "127.0.0.1"}
"""How Linux writes the address in /proc, plain and as IPv6."""


def shell(script: str, folder: Path, *, ready: str = "ready", boots: int = 1) -> Child:
    """A child that runs a shell script."""
    return Child(Program("shell", [SHELL, "-c", script], ready, boots=boots), folder / "out")


def alive(pid: int) -> bool:
    """Whether the process runs; one that ended and was not collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition: Callable[[], object], timeout_s: float = 30) -> None:
    """Return when the condition holds; fail after the deadline."""
    wait_until(lambda: True if condition() else None, timeout_s=timeout_s, why=f"not so after {timeout_s} s")


def python(code: str) -> list[str]:
    """The command of a Python process that can import the project."""
    return [sys.executable, "-c", code]


def environment() -> dict[str, str]:
    """This process's, with this process's import path."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def numbers_in(folder: Path, name: str) -> list[int]:
    """The numbers that a process wrote into a file, once it is there."""
    path = folder / name
    until(lambda: path.exists() and path.read_text().endswith("\n"))
    return [int(word) for word in path.read_text().split()]


def listening(pid: int) -> set[str]:
    """HOST:PORT of every TCP socket on which the process listens; `*` for any host."""
    sockets = {str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == LISTEN and f"socket:[{columns[9]}]" in sockets:
                host, _, port = columns[1].partition(":")
                found.add(f"{'*' if set(host) == {'0'} else LOOPBACK.get(host, host)}:{int(port, 16)}")
    return found
