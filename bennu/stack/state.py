"""What a background stack writes down in its folder, so that other commands find it.

The supervisor holds a file lock as long as it lives, however it ends; the state counts only while the lock is held,
so that a stale file or a reused process id can never mislead.
"""

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from bennu.errors import BadSettings
from bennu.ops import folders

STATE = "state.json"
LOCK = "lock"
LOCK_DELAYS_S = (0, 0.02, 0.05, 0.1)
"""Whoever asks whether the lock is held takes it for a moment."""


@dataclass(frozen=True)
class State:
    """The supervisor's process, and how to reach what it runs once that is ready."""

    pid: int
    log: str
    ready: bool = False
    addresses: dict[str, str] = field(default_factory=dict)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Be the folder's one supervisor inside the block.

    Raises `BadSettings` when there is one already, or there can't be such a folder.
    """
    folders.make(folder, what="--dir")
    with (folder / LOCK).open("a") as lock:
        if not any(_locked(lock, fcntl.LOCK_EX, delay_s=delay_s) for delay_s in LOCK_DELAYS_S):
            raise BadSettings(
                f"the stack in {folder} is up already: stop it (`bennu stack down`, or Ctrl-C where `bennu dev` runs), "
                "or use another --dir"
            )
        try:
            yield
        finally:
            (folder / STATE).unlink(missing_ok=True)


def _locked(lock: IO[str], kind: int, *, delay_s: float = 0) -> bool:
    time.sleep(delay_s)
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(folder: Path) -> bool:
    """Whether a supervisor lives."""
    if not (folder / LOCK).exists():
        return False
    with (folder / LOCK).open("a") as lock:
        return not _locked(lock, fcntl.LOCK_SH)


def write_state(folder: Path, state: State) -> None:
    """Replace the state in one step; it holds a password, so nobody else may read it."""
    fresh = folder / f"{STATE}.new"
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(asdict(state), indent=2) + "\n")
    fresh.replace(folder / STATE)


def read_state(folder: Path) -> State | None:
    """The state of a living supervisor."""
    if not is_held(folder):
        return None
    try:
        return State(**json.loads((folder / STATE).read_text()))
    except FileNotFoundError:
        return None
