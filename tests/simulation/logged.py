"""What the command logs hold in the end, read without the code under test: also a part of what was asked for."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from zlib import crc32

from google.protobuf.message import DecodeError

from bank.app import app
from bennu.v1.command_pb2 import CommandBatch
from tests.simulation.said import Command


class Logged(NamedTuple):
    """A command as it stands in a command log; `no` is 0 without a numbered stream."""

    command: Command
    source: str
    no: int
    own_id: bool


def logged_commands(topic: str, bodies: Sequence[bytes | None], place: tuple[int, int]) -> Iterator[Logged]:
    """All commands of the records that are none of the simulation's garbage."""
    for offset, body in enumerate(bodies):
        batch = _batch(body or b"")
        for i in range(len(batch.payloads) if batch else 0):
            assert batch is not None
            given_id = batch.command_ids[i] if batch.command_ids else ""
            command = Command(
                given_id or f"{topic}/{offset}/{i}",
                batch.types[batch.type_indexes[i]],
                batch.payloads[i],
                compensates=batch.compensates[i] if batch.compensates else "",
            )
            number = batch.first_no + i if batch.source else 0
            yield Logged(_refused(command, place), batch.source, number, bool(given_id))


def _batch(body: bytes) -> CommandBatch | None:
    try:
        batch = CommandBatch.FromString(body)
    except DecodeError:
        return None
    fits = len(batch.type_indexes) == len(batch.payloads) and max(batch.type_indexes, default=0) < len(batch.types)
    numbered = not batch.source or batch.first_no > 0
    return batch if batch.format_version == 1 and fits and numbered else None


def _refused(command: Command, place: tuple[int, int]) -> Command:
    """With the refusal that it must get whatever the state says."""
    number, partitions = place
    rule = app.commands.get(command.type_name)
    refusal = ""
    if rule is None:
        refusal = "invalid_argument"
    else:
        message = command.message
        if getattr(message, "amount_minor", 1) < 1:
            refusal = "invalid_argument"
        elif crc32(rule.key(message).encode()) % partitions != number:
            refusal = "wrong_partition"
    return Command(command.command_id, command.type_name, command.payload, refusal, command.compensates)
