"""What drills have in common at a terminal: how they are ended, and how their results are told."""

import json
import signal
from typing import Protocol

import typer

from bennu.errors import Unavailable
from bennu.ops import logging


class Result(Protocol):
    """What a drill found."""

    @property
    def problems(self) -> list[str]:
        """Everything that must not be, in words."""

    def lines(self) -> list[str]:
        """For a person."""

    def numbers(self) -> dict[str, object]:
        """For a program."""


def begin() -> None:
    """Be quiet, and end in order by Ctrl-C and SIGTERM."""
    logging.configure("warning")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its `bennu drill &` ignore it
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def tell(result: Result, *, as_json: bool, **asked: object) -> None:
    """Print it; as JSON with what was `asked` for, too.  Raises `Unavailable` where something is wrong."""
    for line in result.lines():
        typer.echo(line)
    if as_json:
        typer.echo(json.dumps({**result.numbers(), **asked}))
    if result.problems:
        raise Unavailable("; ".join(result.problems))
