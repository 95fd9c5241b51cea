"""`bennu stack up | down | status`: a real log and a real Postgres in the background of this machine."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from bennu.errors import BadSettings, Unavailable
from bennu.ops import folders
from bennu.stack.kept import refuse_other_log
from bennu.stack.run import DEFAULT_FOLDER
from bennu.stack.stack import LogKind
from bennu.stack.state import State, is_held, read_state

UP_TIMEOUT_S = 900.0
"""The first time fetches a hundred megabytes."""
DOWN_TIMEOUT_S = 10.0
POLL_S = 0.05
LAST_LINES = 20
OUTPUT = "supervisor.out"

T = TypeVar("T")

app = typer.Typer(help="A real log and a real Postgres on this machine, without Docker.", no_args_is_help=True)

Folder = Annotated[Path, typer.Option("--dir", help="Where the data lives.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def up(
    log: Annotated[LogKind, typer.Option(help="Which log.")] = LogKind.ROCKETMQ,
    folder: Folder = DEFAULT_FOLDER,
    *,
    as_json: AsJson = False,
) -> None:
    """Start a log and a Postgres in the background, and print their addresses."""
    state = read_state(folder)
    if state is None:
        state = start(folder.absolute(), log)
    elif state.log != log:
        raise BadSettings(f"the stack in {folder} is up with --log {state.log}: take it down first")
    else:
        typer.echo(f"the stack in {folder} is up already", err=True)
    show(state, as_json=as_json)


@app.command()
def down(folder: Folder = DEFAULT_FOLDER) -> None:
    """End the stack; its data stays."""
    state = read_state(folder)
    if state is None:
        typer.echo(f"the stack in {folder} is not up")
        return
    end(folder, state.pid)
    typer.echo(f"the stack in {folder} is down")


@app.command()
def status(folder: Folder = DEFAULT_FOLDER, *, as_json: AsJson = False) -> None:
    """Print the addresses; exit status 1 when the stack is not up."""
    state = read_state(folder)
    if state is None:
        raise Unavailable(f"the stack in {folder} is not up: start it with `bennu stack up`")
    show(state, as_json=as_json)


def start(folder: Path, log: LogKind) -> State:
    """Leave one supervisor running in the background, and return when everything serves."""
    refuse_other_log(folder, log)
    folders.make(folder, what="--dir")
    fetching = "" if log is LogKind.SQLITE else "; the first time fetches Java packages, which takes a minute"
    typer.echo(f"starting{fetching}", err=True)
    command = [sys.executable, "-m", "bennu.stack.run", "--dir", str(folder), "--log", log]
    with (folder / OUTPUT).open("wb") as output:
        supervisor = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # it outlives this terminal
        )
    with ExitStack() as unless_ready:  # Ctrl-C too: nothing may be left half started
        unless_ready.callback(supervisor.wait, DOWN_TIMEOUT_S)
        unless_ready.callback(supervisor.terminate)
        state = wait_ready(folder, supervisor)
        unless_ready.pop_all()
    return state


def wait_ready(folder: Path, supervisor: "subprocess.Popen[bytes]") -> State:
    """The state once it says ready; raises `Unavailable` with the supervisor's last lines."""

    def ready() -> State | None:
        if supervisor.poll() is not None:
            lines = (folder / OUTPUT).read_text(errors="replace").splitlines()[-LAST_LINES:]
            raise Unavailable("the stack did not start:\n" + "\n".join(lines))
        state = read_state(folder)
        return state if state is not None and state.ready else None

    why = f"the stack did not start within {UP_TIMEOUT_S:.0f} s: see {folder / OUTPUT}"
    return until(ready, timeout_s=UP_TIMEOUT_S, why=why)


def end(folder: Path, supervisor: int) -> None:
    """Ask the supervisor to end; its death by force ends everything too."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        os.kill(supervisor, number)
        try:
            why = f"the supervisor, process {supervisor}, does not end"
            until(lambda: not is_held(folder) or None, timeout_s=DOWN_TIMEOUT_S, why=why)
        except Unavailable:
            if number is signal.SIGKILL:
                raise
        else:
            return


def show(state: State, *, as_json: bool) -> None:
    """Print the addresses, for a person or for a program."""
    if as_json:
        typer.echo(json.dumps({"log": state.log, "ready": state.ready, **state.addresses}))
    elif not state.ready:
        typer.echo("starting")
    else:
        for name, address in state.addresses.items():
            typer.echo(f"{name:16} {address}")


def until(asked: Callable[[], T | None], *, timeout_s: float, why: str) -> T:
    """The first answer that is not None.  Raises `Unavailable` saying why after the deadline."""
    deadline = time.monotonic() + timeout_s
    while (answer := asked()) is None:
        if time.monotonic() > deadline:
            raise Unavailable(why)
        time.sleep(POLL_S)
    return answer
