"""Commands that are programs of their own: `bennu cserver …` becomes the service, `bennu demo …` the demonstration.

Flags, messages, exit codes and `--help` are the program's own.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import typer

from bennu.errors import BadSettings

ROOT = Path(__file__).resolve().parent.parent.parent


class Program(NamedTuple):
    """A module to be run in place of this process."""

    module: str
    help: str
    checkout: str = ""
    """Its path in a checkout, for what is not part of the installed package."""


PROGRAMS = {
    "cserver": Program("bennu_cserver", "Decide commands and make them durable: the only writer of a domain's state."),
    "qserver": Program("bennu_qserver", "Project events into tables of Postgres."),
    "saga": Program("bennu_saga", "Carry out what spans several aggregates; compensate what can't be."),
    "archive": Program(
        "bennu.archive", "Copy all records of an app to a folder, for ever; `bennu archive verify` checks one."
    ),
    "snapshot-sagas": Program("bennu_saga.snapshot", "As `snapshot`, of an app's sagas."),
    "reconcile": Program(
        "bennu_qserver.reconcile", "Compare tables, and CServer's memory, with the journals; print every difference."
    ),
    "explore": Program(
        "bennu.explore",
        "Let a saga live through every order of events with faults: `bennu explore bank.app:app Transfer`.",
    ),
    "demo": Program("bank.demo", "The bank, end to end, on this machine: money moves and is counted.", "examples/bank"),
    "simulate": Program(
        "tests.simulation.run", "The write path over a log with faults, from seeds, in one process.", "tests/simulation"
    ),
    "drill failover": Program(
        "bank.drill_failover",
        "Hit the node that leads, again and again, under load; judge every answer against the journals.",
        "examples/bank",
    ),
    "drill sagas": Program(
        "bank.drill_sagas",
        "Kill Saga, CServer and broker, again and again, while sagas run; check that each of them ends.",
        "examples/bank",
    ),
    "drill projections": Program(
        "bank.drill_projections",
        "Kill QServer and Postgres under load, also while tables are rebuilt; compare every row with the journals.",
        "examples/bank",
    ),
    "drill restore": Program(
        "bank.drill_restore",
        "Lose the log and the tables of a bank under load; build all from the archive.",
        "examples/bank",
    ),
    "bench": Program("benchmarks", "Measure: `bennu bench commands`.", "benchmarks"),
}


def program_command(name: str, arguments: Sequence[str]) -> list[str]:
    """How it is run as a process.  Raises `BadSettings` for a part of a checkout that is not here."""
    program = PROGRAMS[name]
    if program.checkout and not (ROOT / program.checkout).is_dir():
        raise BadSettings(f"{program.checkout} is not here: `bennu {name}` needs a checkout, not the installed package")
    return [sys.executable, "-m", program.module, *arguments]


def replace_if_asked(arguments: Sequence[str]) -> None:
    """Become the program when the first words name one.  Before anything else, so that it starts at once."""
    for words in (1, 2):
        if (name := " ".join(arguments[:words])) in PROGRAMS:
            become(name, arguments[words:])


def become(name: str, arguments: Sequence[str]) -> None:
    """Replace this process; never returns."""
    command = program_command(name, arguments)
    if PROGRAMS[name].checkout:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # else gRPC complains of each process that a drill starts
    os.execv(command[0], command)  # noqa: S606  no shell is wanted


def register(app: typer.Typer, group: str = "") -> None:
    """Add the commands of a group, or those without one, for `--help`."""
    for name, program in PROGRAMS.items():
        if name.rpartition(" ")[0] == group:
            _register(app, name, program.help)


def _register(app: typer.Typer, name: str, text: str) -> None:
    passed_on = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
    last_word = name.rpartition(" ")[2]

    @app.command(last_word, help=f"{text}  Flags: `bennu {name} --help`.", context_settings=passed_on)
    def command(context: typer.Context) -> None:
        become(name, context.args)
