"""Commands on their way to a partition: columns, so that a frame of hundreds is one object."""

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import inf
from typing import NamedTuple

import msgspec
from google.protobuf.message import Message

from bennu.domain.app import CommandRule
from bennu.ops import answers
from bennu.v1.command_pb2 import Origin
from bennu.v1.position_pb2 import LogPosition
from bennu_cserver.path import Path

Reply = answers.Reply


class Columns(NamedTuple):
    """Commands as they came; element i of each belongs to one command."""

    payloads: Sequence[bytes]
    command_ids: Sequence[str]
    """Empty: one is to be made."""
    origins: Sequence[Origin]

    def at(self, places: Sequence[int]) -> "Columns":
        """Those of these commands."""
        payloads, command_ids, origins = self
        return Columns([payloads[i] for i in places], [command_ids[i] for i in places], [origins[i] for i in places])


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
    key: str = ""
    """Of the aggregate that it is for; read from the message once."""
    compensates: str = ""
    refusal: tuple[str, str] = ("", "")
    repeats: bool = False
    """It was sent before in the same stream, and so decided, even if nobody here knows its reply any more."""


@lru_cache(maxsize=1_024)  # a command log may name any type
def payload_digest(type_name: str) -> Callable[[bytes], bytes]:
    """What makes, of the canonical payload of a command of this type, what two of one id are compared by."""
    begun = hashlib.blake2b(type_name.encode() + b"\0", digest_size=16).copy

    def digest(canonical: bytes) -> bytes:
        whole = begun()  # a copy takes 0.2 us, one made with parameters 0.7
        whole.update(canonical)
        return whole.digest()

    return digest


class Caller(NamedTuple):
    """Who waits for commands, and how long."""

    client: str = ""
    """A connection, or a command log: the line is fair between them."""
    deadline_s: float = inf
    """By the event loop's clock: what is not decided by then never is."""
    path: Path | None = None
    """Of a call that is measured."""


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

    def read_on_at(self) -> LogPosition:
        """Of a record of a log: where to read on once its effects are journaled."""
        return LogPosition(topic=self.input_topic, offset=self.input_offset)
