"""`bennu drill …`: rehearsals, each a program of its own; see `programs.PROGRAMS`."""

import typer

from bennu.cli import programs

app = typer.Typer(help="Rehearse the worst on this machine, and judge the outcome.", no_args_is_help=True)


@app.callback()
def drills() -> None:
    """A group, also while there is one drill only."""


programs.register(app, "drill")
