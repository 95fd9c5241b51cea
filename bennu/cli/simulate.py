"""`bennu simulate …`: the suite in one process, from one seed.  It belongs to the tests, so it needs a checkout."""

import os
import sys
from pathlib import Path

import typer

from bennu.errors import BadSettings

PROGRAM = Path("tests", "simulation", "run.py")
MODULE = "tests.simulation.run"


def become(arguments: list[str]) -> None:
    """Replace this process by the simulation; never returns.  Raises `BadSettings` outside a checkout."""
    root = Path(__file__).resolve().parent.parent.parent
    if not (root / PROGRAM).exists():
        raise BadSettings(f"{PROGRAM} is not here: the simulation is part of a checkout, not of the installed package")
    os.chdir(root)
    os.execv(sys.executable, [sys.executable, "-m", MODULE, *arguments])  # noqa: S606  no shell is wanted


def register(app: typer.Typer) -> None:
    """Add the command."""
    passed_on = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}

    @app.command(context_settings=passed_on)
    def simulate(context: typer.Context) -> None:
        """Run the suite over a log with faults, from a seed.  Flags: `bennu simulate --help`; needs a checkout."""
        become(context.args)
