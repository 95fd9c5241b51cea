"""`bennu snapshot-sagas`: as `bennu snapshot`, of the journals of an app's sagas."""

import sys

import typer

from bennu.cli.snapshots import command
from bennu.cli.told import run_told
from bennu_saga.fold import SagaFold


def build() -> typer.Typer:
    """The one command."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command("saga", lambda _app: SagaFold()))
    return app


if __name__ == "__main__":
    sys.exit(run_told(build, sys.argv[1:], name="bennu snapshot-sagas"))
