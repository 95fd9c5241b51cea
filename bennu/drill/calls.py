"""What a drill asks, and what it is told: the history that its checks judge.

Times are `time.monotonic`, in seconds: the event loop would round them to its turns.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from google.protobuf.message import Message

from bennu.domain.app import App
from bennu.wire.partitioning import partition_of

OK = 0


class Command(NamedTuple):
    """A command as it is sent, again and again with the same id until its outcome is known."""

    command_id: str
    type_name: str
    payload: bytes
    partition: int


class Query(NamedTuple):
    """A question that every node is asked at the end."""

    message: Message
    method: str
    """Path of the rpc."""
    partition: int


class Answer(NamedTuple):
    """A definite answer: the reply's bytes if the code is OK, else those of a google.rpc.Status."""

    at_s: float
    node: str
    code: int
    reply: bytes
    token: str
    """topic:batch_no, the position that makes it true; empty if none was given."""


@dataclass(slots=True, eq=False)
class Call:
    """A command, when it was to be sent, and what was answered."""

    command: Command
    intended_s: float
    attempts: int = 0
    answer: Answer | None = None

    @property
    def latency_s(self) -> float:
        """From the moment at which it was to be sent, which an overloaded sender must not move."""
        assert self.answer is not None
        return self.answer.at_s - self.intended_s


def command_of(app: App, partitions: int, message: Message, *, command_id: str) -> Command:
    """How this message is sent."""
    name = message.DESCRIPTOR.full_name
    return Command(
        command_id,
        name,
        message.SerializeToString(deterministic=True),
        partition_of(app.commands[name].key(message), partitions),
    )


def commands_of(app: App, partitions: int, messages: Iterable[tuple[str, Message]]) -> Iterator[Command]:
    """How these are sent; each comes with its id."""
    return (command_of(app, partitions, message, command_id=command_id) for command_id, message in messages)


def query_of(app: App, partitions: int, message: Message) -> Query:
    """How this question is asked."""
    name = message.DESCRIPTOR.full_name
    method = f"/{app.service.full_name}/{app.methods[name].name}"
    return Query(message, method, partition_of(app.queries[name].key(message), partitions))
