"""The outbox: commands in the journal that their command log has not confirmed yet, numbered per destination.

Only what is effective may be sent; one record at a time is on its way to a destination, and the next follows a
receipt.  So a command log holds the numbers in order, and CServer drops one that it took before: a record that is
sent twice, or late by a leader that was deposed, has no effect.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bennu.errors import JournalBroken
from bennu.v1.command_pb2 import Origin
from bennu.wire.commands import command_batch
from bennu_saga.limits import OUTBOX_BYTES, OUTBOX_COMMANDS, RECORD_BYTES, RECORD_COMMANDS


class Command(NamedTuple):
    """A command as it was journaled."""

    no: int
    command_id: str
    type_name: str
    payload: bytes
    compensates: str
    origin: tuple[str, str, str, str]
    """Actor, correlation id, causation id, traceparent."""
    repeats: bool = False
    """It was issued before, with the same id."""

    @property
    def size(self) -> int:
        """About as many bytes as it takes in a record."""
        return sum(map(len, self.origin)) + 2 * len(self.command_id) + len(self.payload) + 32


class Box:
    """What is to be sent to one command log."""

    def __init__(self, destination: str) -> None:
        self.destination = destination
        self.last_no = 0
        """The greatest number given."""
        self.effective_no = 0
        """The greatest number that may be sent; meant for the leader."""
        self.unconfirmed: deque[Command] = deque()
        self.bytes = 0
        """Size of what is not confirmed."""

    def add(self, command: Command) -> None:
        """Raises `JournalBroken` if its number is not the next one."""
        if command.no != self.last_no + 1:
            raise JournalBroken(
                f"{self.destination}: command {command.no} was issued after {self.last_no}; numbers must have no gap"
            )
        self.last_no = command.no
        self.bytes += command.size
        self.unconfirmed.append(command)

    def confirm(self, last_no: int) -> None:
        """All up to this number are in the command log."""
        while self.unconfirmed and self.unconfirmed[0].no <= last_no:
            self.bytes -= self.unconfirmed.popleft().size

    def sendable(self) -> Sequence[Command]:
        """The next commands that go together; none while nothing is effective."""
        return tuple(self._fitting())

    def _fitting(self) -> Iterator[Command]:
        size = 0
        for count, command in enumerate(self.unconfirmed):
            if command.no > self.effective_no or size > RECORD_BYTES or count >= RECORD_COMMANDS:
                return
            size += command.size
            yield command


class Outbox:
    """The boxes of one saga journal."""

    def __init__(self) -> None:
        self.boxes: dict[str, Box] = {}

    def __len__(self) -> int:
        return sum(len(box.unconfirmed) for box in self.boxes.values())

    @property
    def full(self) -> bool:
        """No further command should be issued."""
        return len(self) >= OUTBOX_COMMANDS or sum(box.bytes for box in self.boxes.values()) >= OUTBOX_BYTES

    def box(self, destination: str) -> Box:
        """The one for this command log."""
        box = self.boxes.get(destination)
        if box is None:
            box = self.boxes[destination] = Box(destination)
        return box

    def heads(self) -> dict[str, int]:
        """The greatest number given per destination, now; a box that was never used is as good as none."""
        return {box.destination: box.last_no for box in self.boxes.values() if box.last_no}

    def allow(self, heads: dict[str, int]) -> None:
        """Everything up to these numbers is effective."""
        for destination, last_no in heads.items():
            self.boxes[destination].effective_no = last_no


def encode(commands: Sequence[Command], source: str) -> bytes:
    """A record of a command log; `source` is the journal that these were issued in."""
    origins: dict[tuple[str, str, str, str], int] = {}
    batch = command_batch((command.command_id, command.type_name, command.payload) for command in commands)
    batch.source, batch.first_no = source, commands[0].no
    batch.origin_indexes.extend(origins.setdefault(command.origin, len(origins)) for command in commands)
    if any(command.compensates for command in commands):
        batch.compensates.extend(command.compensates for command in commands)
    if any(command.repeats for command in commands):
        batch.repeats.extend(command.repeats for command in commands)
    batch.origins.extend(
        Origin(actor=actor, correlation_id=correlation, causation_id=causation, traceparent=trace)
        for actor, correlation, causation, trace in origins
    )
    return batch.SerializeToString()
