"""Commands on their way to a partition: columns, so that a frame of hundreds is one object."""

from collections.abc import Callable, Sequence
from math import inf
from typing import NamedTuple

import msgspec
from google.protobuf.message import Message

from bennu.domain.app import CommandRule
from bennu.ops import answers
from bennu.v1.command_pb2 import Origin

Reply = answers.Reply


class Prepared(msgspec.Struct, frozen=True, gc=False):
    """A command that was parsed and validated.  `rule` is None for one of a log that can only be rejected.

    The garbage collector does not look at it, which could be in no cycle: tens of thousands stand in a full line.
    """

    command_id: str
    type_name: str
    rule: CommandRule | None
    message: Message | None
    digest: bytes
    origin: Origin
    compensates: str = ""
    refusal: tuple[str, str] = ("", "")
    repeats: bool = False
    """It was sent before in the same stream, and so decided, even if nobody here knows its reply any more."""


class Caller(NamedTuple):
    """Who waits for commands, and how long."""

    client: str = ""
    """A connection, or a command log: the line is fair between them."""
    deadline_s: float = inf
    """By the event loop's clock: what is not decided by then never is."""


ANYBODY = Caller()


class Submission:
    """Commands for one partition that are answered together, or a record of its command log."""

    __slots__ = (
        "bytes",
        "caller",
        "commands",
        "done",
        "first_no",
        "input_offset",
        "input_topic",
        "next",
        "replies",
        "source",
    )

    def __init__(
        self, commands: Sequence[Prepared], done: Callable[["Submission", int], None], *, caller: Caller = ANYBODY
    ) -> None:
        self.commands = commands
        self.caller = caller
        self.replies: list[Reply] = []
        self.next = 0
        """Index of the command to be decided next."""
        self.bytes = 0
        self.source = ""
        """For a saga's commands: its journal, and the number of the first one in that stream."""
        self.first_no = 0
        self.input_topic = ""
        self.input_offset = 0
        """For a record of a log: where to read on once its effects are journaled."""
        self.done = done
        """Called with this and the number of the batch that made its replies true; -1: outcome unknown."""
