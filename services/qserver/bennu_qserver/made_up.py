"""Rules tried with made-up events, so that one that writes rows of others is found before any event is read.

What an event says is in its fields, so each text gets one of its own: a rule that takes a row's owner from another
field than the event's key writes another one's row, and would for every event.  It proves nothing where a rule looks at
what fields say, and each change is checked again when it is made; then the event is parked.
"""

from collections.abc import Iterator
from itertools import count
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from bennu.domain import EventMeta
from bennu.errors import BadSettings
from bennu_qserver.errors import NotOwner
from bennu_qserver.events import Event
from bennu_qserver.rows import RowChanges

META = EventMeta(partition=0, seq=1, recorded_at_us=1_700_000_000_000_000, command_id="made-up", actor="made-up")
DEPTH = 3
"""Of messages in messages, which may go on for ever."""
WHOLE = (
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
)


def try_rule(event: Event, rows: RowChanges, where: str) -> None:
    """Raise `BadSettings`, naming `where`, if the rule writes a row that belongs to another aggregate or partition."""
    rows.begin(event)
    try:
        event.handler.rule(event.message, rows, event.meta)
    except NotOwner as fault:
        raise BadSettings(f"{where}, tried with a made-up event: {fault}") from fault
    except Exception:
        return


def made_up(message: type[Message]) -> Message:
    """One of these, with something of its own in every field."""
    made = message()
    _fill(made, "", count(1), depth=DEPTH)
    return made


def _fill(message: Message, path: str, numbers: Iterator[int], *, depth: int) -> None:
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None and (not depth or field.message_type.GetOptions().map_entry):
            continue
        name, holder = f"{path}{field.name}", getattr(message, field.name)
        if field.message_type is not None:
            _fill(holder.add() if field.is_repeated else holder, f"{name}.", numbers, depth=depth - 1)
        elif field.is_repeated:
            holder.append(_value(field, name, numbers))
        else:
            setattr(message, field.name, _value(field, name, numbers))


def _value(field: Any, name: str, numbers: Iterator[int]) -> Any:  # noqa: ANN401 - of two classes; of the field's type
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return f"made-up {name}".encode() if field.type == FieldDescriptor.TYPE_BYTES else f"made-up {name}"
        case FieldDescriptor.CPPTYPE_ENUM:
            values = field.enum_type.values
            return values[min(1, len(values) - 1)].number
        case FieldDescriptor.CPPTYPE_BOOL:
            return True
    number = next(numbers)
    return number if field.cpp_type in WHOLE else float(number)
