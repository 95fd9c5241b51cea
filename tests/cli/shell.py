"""The command `bennu` as a shell has it: arguments in; exit code, standard output and standard error out."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from bennu.cli.main import run as run_here
from bennu.stack.service import clean_environ

TIMEOUT_S = 120
ROOT = Path(__file__).resolve().parents[2]
BENNU = [sys.executable, "-m", "bennu.cli.main"]
BANK = "bank.app:app"


class Ended(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> object:
        """What `--json` printed: one value and nothing else."""
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """Its one message on standard error; nothing may have come beside it."""
        assert self.err.startswith("error: "), self.err
        assert self.err.count("error: ") == 1, self.err
        assert "Traceback" not in self.err
        return self.err.removeprefix("error: ").rstrip("\n")


class Shell:
    """Runs commands in this process: at once, and without Bennu's variables but those that a test sets."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._capsys = capsys
        self.folder = folder
        for name in [name for name in os.environ if name.startswith("BENNU_")]:
            monkeypatch.delenv(name)
        monkeypatch.chdir(folder)
        self.setenv = monkeypatch.setenv

    def __call__(self, *arguments: object) -> Ended:
        self._capsys.readouterr()
        code = run_here([str(argument) for argument in arguments])
        return Ended(code, *self._capsys.readouterr())


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """For a process: ours without Bennu's variables, with the apps that stand in tests."""
    clean = clean_environ()
    return clean | {"PYTHONPATH": str(ROOT)} | dict(more or {})


def run(arguments: Sequence[object], *, folder: Path, environ: Mapping[str, str] | None = None) -> Ended:
    """Run it to its end as a process."""
    command = [*BENNU, *(str(argument) for argument in arguments)]
    ended = subprocess.run(
        command,
        cwd=folder,
        env=environment(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)
