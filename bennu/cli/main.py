"""The command `bennu`: its groups, and what the shell is told when something is wrong.

Exit codes: 0; 1 what was asked for is not so, or a peer is away; 2 wrong usage; 70 a broken log or journal;
78 settings that make no sense; 130 Ctrl-C.  An error is one message on standard error.
"""

import sys
from collections.abc import Sequence

import typer
from typer.exceptions import TyperException

from bennu.cli import dev, journal, protos, services, simulate, topics, version
from bennu.errors import BadSettings, BennuError, Final
from bennu.stack import commands as stack

EXIT_FAILED = 1
EXIT_FINAL = 70
EXIT_BAD_SETTINGS = 78
EXIT_INTERRUPTED = 130


def build() -> typer.Typer:
    """All commands."""
    app = typer.Typer(
        name="bennu",
        help="In-memory, event-sourced CQRS and sagas: every answer durable first.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for module in (services, dev, simulate, version):
        module.register(app)
    app.add_typer(topics.app, name="topics")
    app.add_typer(journal.app, name="journal")
    app.add_typer(protos.app, name="protos")
    app.add_typer(stack.app, name="stack")
    return app


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments say; the exit code."""
    try:
        code = build()(list(arguments), standalone_mode=False, prog_name="bennu")
    except TyperException as problem:
        return _told(problem.format_message(), problem.exit_code)
    except BennuError as problem:
        return _told(str(problem), _exit_code(problem))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return code if isinstance(code, int) else 0


def _exit_code(problem: BennuError) -> int:
    if isinstance(problem, BadSettings):
        return EXIT_BAD_SETTINGS
    return EXIT_FINAL if isinstance(problem, Final) else EXIT_FAILED


def _told(message: str, code: int) -> int:
    if message:  # empty: help was shown instead
        typer.echo(f"error: {message}", err=True)
    return code


def main() -> None:
    """Entry point of the command."""
    arguments = sys.argv[1:]
    services.replace_if_asked(arguments)
    sys.exit(run(arguments))


if __name__ == "__main__":
    main()
