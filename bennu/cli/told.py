"""What the shell is told when a command ends: one message on standard error, and the exit code.

Exit codes: 0; 1 what was asked for is not so, or a peer is away; 2 wrong usage; 70 a broken log or journal;
78 settings that make no sense; 130 Ctrl-C.  A misspelt `BENNU_…` variable makes no sense to any command.
"""

import os
import sys
from collections.abc import Callable, Sequence

import typer
from typer.exceptions import TyperException

from bennu.errors import BadSettings, BennuError, Final, TopicMissing
from bennu.ops import sources

EXIT_FAILED = 1
EXIT_FINAL = 70
EXIT_BAD_SETTINGS = 78
EXIT_INTERRUPTED = 130

WHICH_LOG = "is it in another log?  --log or BENNU_LOG names it; `bennu dev` has its own, sqlite:.bennu/dev/log"


def run_told(build: Callable[[], typer.Typer], arguments: Sequence[str], *, name: str) -> int:
    """Do what the arguments say; the exit code."""
    try:
        command = build()
        if "--help" not in arguments:
            sources.check(os.environ)
        code = command(list(arguments), standalone_mode=False, prog_name=name)
        sys.stdout.flush()
    except TyperException as problem:
        return _told(problem.format_message(), problem.exit_code)
    except TopicMissing as problem:  # to a service it is final; here somebody asked for it by name
        return _told(f"{problem}; {WHICH_LOG}", EXIT_FAILED)
    except BennuError as problem:
        return _told(str(problem), _exit_code(problem))
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except BrokenPipeError:  # `| head` has seen enough; Python must not try to write the rest when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    if code == EXIT_INTERRUPTED:  # also when typer has met the interrupt first
        typer.echo("interrupted", err=True)
    return code if isinstance(code, int) else 0


def _exit_code(problem: BennuError) -> int:
    if isinstance(problem, BadSettings):
        return EXIT_BAD_SETTINGS
    return EXIT_FINAL if isinstance(problem, Final) else EXIT_FAILED


def _told(message: str, code: int) -> int:
    if message:  # empty: help was shown instead
        typer.echo(f"error: {message}", err=True)
    return code
