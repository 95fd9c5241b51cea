"""The command `bennu`: its groups."""

import sys
from collections.abc import Sequence

import typer

from bennu.cli import (
    archive,
    deadletters,
    dev,
    drill,
    inspection,
    journal,
    members,
    programs,
    projections,
    protos,
    repair,
    sagas,
    snapshots,
    top,
    topics,
    version,
)
from bennu.cli.told import run_told
from bennu.stack import commands as stack


def build() -> typer.Typer:
    """All commands."""
    app = typer.Typer(
        name="bennu",
        help="In-memory, event-sourced CQRS and sagas: every answer durable first.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for module in (programs, dev, members, repair, archive, snapshots, top, version):
        module.register(app)
    app.add_typer(topics.app, name="topics")
    app.add_typer(journal.app, name="journal")
    app.add_typer(inspection.app, name="inspect")
    app.add_typer(sagas.app, name="sagas")
    app.add_typer(projections.app, name="projections")
    app.add_typer(deadletters.app, name="deadletters")
    app.add_typer(drill.app, name="drill")
    app.add_typer(snapshots.app, name="snapshots")
    app.add_typer(protos.app, name="protos")
    app.add_typer(stack.app, name="stack")
    return app


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments say; the exit code."""

    def programs_first() -> typer.Typer:
        programs.replace_if_asked(arguments)
        return build()

    return run_told(programs_first, arguments, name="bennu")


def main() -> None:
    """Entry point of the command."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
