"""Run a stack until a signal; when this process dies, by any means, so does the stack.

    python -m bennu.stack.run --dir DIR --log rocketmq

`bennu stack up` runs this in the background.
"""

import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from bennu.errors import BadSettings, Unavailable
from bennu.stack.stack import LogKind, Stack
from bennu.stack.state import State, held, write_state

DEFAULT_FOLDER = Path(".bennu/stack")


def run(
    log: Annotated[LogKind, typer.Option(help="Which log.")] = LogKind.ROCKETMQ,
    folder: Annotated[Path, typer.Option("--dir", help="Where the data lives.")] = DEFAULT_FOLDER,
) -> None:
    """Start a log and a Postgres, print their addresses, and run until Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # one way to end: KeyboardInterrupt
    try:
        supervise(folder.absolute(), log)
    except KeyboardInterrupt:
        typer.echo("stopped")
    except (BadSettings, Unavailable) as problem:
        typer.echo(f"error: {problem}", err=True)
        raise typer.Exit(1) from None


def supervise(folder: Path, log: LogKind) -> None:
    """Own the stack of the folder until an exception comes."""
    with held(folder):
        write_state(folder, State(os.getpid(), log))
        with Stack(folder, log) as stack:
            write_state(folder, State(os.getpid(), log, ready=True, addresses=stack.addresses))
            for name, address in stack.addresses.items():
                typer.echo(f"{name:16} {address}")
            while True:
                signal.pause()


if __name__ == "__main__":
    typer.run(run)
