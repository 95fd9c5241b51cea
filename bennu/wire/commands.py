"""Commands in columns, as they travel: see `CommandBatch`."""

import re
from collections.abc import Iterable

from bennu.v1.command_pb2 import CommandBatch

COMMANDS_FORMAT_VERSION = 1
CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""No command id has any: not every database takes them all, and no line of a logger shows them."""


def command_batch(commands: Iterable[tuple[str, str, bytes]]) -> CommandBatch:
    """Of the id, full name and payload of each; whatever else a batch says is for the caller to add."""
    types: dict[str, int] = {}
    batch = CommandBatch(format_version=COMMANDS_FORMAT_VERSION)
    for command_id, type_name, payload in commands:
        batch.command_ids.append(command_id)
        batch.type_indexes.append(types.setdefault(type_name, len(types)))
        batch.payloads.append(payload)
    batch.types.extend(types)
    return batch
