"""`python -m bennu_qserver.reconcile`: the command `bennu reconcile`."""

import sys
import traceback

import typer

from bennu.cli.told import run_told
from bennu_qserver.reconcile.command import EXIT_NOT_COMPARED, reconcile


def build() -> typer.Typer:
    """The one command."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(reconcile)
    return app


def main() -> int:
    """The exit code: what nobody has foreseen must not look like a difference, as Python's own 1 would."""
    try:
        return run_told(build, sys.argv[1:], name="bennu reconcile")
    except Exception:
        traceback.print_exc()
        return EXIT_NOT_COMPARED


if __name__ == "__main__":
    sys.exit(main())
