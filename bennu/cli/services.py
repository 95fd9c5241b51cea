"""`bennu cserver | qserver | saga …`: the service itself, in place of this process.

Flags, messages, exit codes and `--help` are the service's own.
"""

import os
import sys
from collections.abc import Sequence

import typer

MODULES = {
    "cserver": ("bennu_cserver", "Decide commands and make them durable: the only writer of a domain's state."),
    "qserver": ("bennu_qserver", "Project events into tables of Postgres."),
    "saga": ("bennu_saga", "Carry out what spans several aggregates; compensate what can't be."),
}


def service_command(service: str, arguments: Sequence[str]) -> list[str]:
    """How the service is run as a process."""
    return [sys.executable, "-m", MODULES[service][0], *arguments]


def replace_if_asked(arguments: Sequence[str]) -> None:
    """Become the service when the first argument names one.  Before anything else, so that it starts at once."""
    if arguments and arguments[0] in MODULES:
        become(arguments[0], arguments[1:])


def become(service: str, arguments: Sequence[str]) -> None:
    """Replace this process; never returns."""
    command = service_command(service, arguments)
    os.execv(command[0], command)  # noqa: S606  no shell is wanted


def register(app: typer.Typer) -> None:
    """Add the three commands, for `bennu --help`."""
    for service, (_, text) in MODULES.items():
        _register(app, service, text)


def _register(app: typer.Typer, service: str, text: str) -> None:
    passed_on = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}

    @app.command(service, help=f"{text}  Flags: `bennu {service} --help`.", context_settings=passed_on)
    def command(context: typer.Context) -> None:
        become(service, context.args)
