"""Commands in columns, as clients and sagas send them."""

from collections.abc import Sequence

from google.protobuf.message import Message

from bennu.v1.command_pb2 import CommandBatch


def batch_of(commands: Sequence[Message], ids: Sequence[str] = ()) -> CommandBatch:
    """These commands as one batch."""
    types = list(dict.fromkeys(command.DESCRIPTOR.full_name for command in commands))
    return CommandBatch(
        format_version=1,
        types=types,
        command_ids=ids,
        type_indexes=[types.index(command.DESCRIPTOR.full_name) for command in commands],
        payloads=[command.SerializeToString() for command in commands],
    )
