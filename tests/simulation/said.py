"""What clients asked for and what they were told: the history that the invariants judge."""

from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from google.protobuf.message import Message
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from bank.app import app


def other_saga(number: int) -> str:
    """The journal of an app of which nothing is simulated but its numbered commands to this partition."""
    return f"other-saga-{number}"


class Key(NamedTuple):
    """An attempted command: its id and the digest of its type and payload."""

    command_id: str
    digest: bytes


def digest_of(type_name: str, canonical: bytes) -> bytes:
    """As the journal has it: BLAKE2b-128 of type name, zero byte, deterministic serialization."""
    return blake2b(type_name.encode() + b"\0" + canonical, digest_size=16).digest()


@dataclass(frozen=True)
class Command:
    """One that a client or a log writer sends.  `refusal` is what must become of it whatever the state says."""

    command_id: str
    type_name: str
    payload: bytes
    refusal: str = ""
    compensates: str = ""

    @property
    def message(self) -> Message:
        """The command itself; only of a type that the bank knows."""
        return app.commands[self.type_name].message.FromString(self.payload)

    @property
    def key(self) -> Key:
        return Key(self.command_id, digest_of(self.type_name, self.payload))


def command_of(command_id: str, message: Message) -> Command:
    """A command of the bank."""
    return Command(command_id, message.DESCRIPTOR.full_name, message.SerializeToString(deterministic=True))


class Told(NamedTuple):
    """An answer that a process gave.  `journal_end` is how long the journal was then."""

    command: Command
    code: int
    body: bytes
    reason: str
    partition: int
    journal_end: int


class Wish(NamedTuple):
    """A query.  `acknowledged`: what the account had been told OK of when it was asked."""

    account: str
    partition: int
    linearizable: bool
    batch_no: int
    """Not before this batch."""
    acknowledged: frozenset[Key]


class Read(NamedTuple):
    """A query's answer, and how long the journal was then."""

    wish: Wish
    view: bytes
    journal_end: int
    batch_no: int
    """The position that the answer names."""
    told_before: int
    """The newest batch of the partition that this process had told anybody of when it was asked."""
    followed: bool
    """It was answered by a follower, from what that had read."""


@dataclass
class History:
    """Everything asked and told, in order."""

    commands: dict[Key, Command] = field(default_factory=dict)
    attempts: Counter[Key] = field(default_factory=Counter)
    """How often each was sent by clients."""
    told: list[Told] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)

    def attempt(self, command: Command) -> Command:
        """Remember that this was asked for."""
        self.attempts[command.key] += 1
        return self.commands.setdefault(command.key, command)

    def trace_digest(self) -> str:
        """Identity of the run."""
        return blake2b("\n".join(self.trace).encode(), digest_size=8).hexdigest()


def reason_of(code: int, body: bytes) -> str:
    """The reason in an error's details; empty for OK."""
    if code == 0:
        return ""
    for detail in Status.FromString(body).details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return str(info.reason)
    return "no_reason"
