"""What the declarations need to know of protobuf messages: their names, their key field, a rule's types."""

import inspect
import types
import typing
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Union, get_args, get_origin, get_type_hints

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from bennu.errors import BadSettings
from bennu.v1 import options_pb2


def name_of(message: type[Message]) -> str:
    """Full protobuf name, such as `bank.v1.Deposit`."""
    return str(message.DESCRIPTOR.full_name)


def key_of(message: type[Message]) -> Callable[[Message], str]:
    """Getter of the key; see `key_field_of`."""
    return attrgetter(key_field_of(message))


def key_field_of(message: type[Message]) -> str:
    """Name of the field marked `(bennu.v1.key) = true`; exactly one string field must be."""
    fields = [f for f in message.DESCRIPTOR.fields if f.GetOptions().Extensions[options_pb2.key]]
    if len(fields) != 1 or fields[0].type != FieldDescriptor.TYPE_STRING:
        raise BadSettings(
            f"{name_of(message)}: exactly one string field must carry [(bennu.v1.key) = true], found {len(fields)}; "
            "the key decides which aggregate, and so which partition, a message belongs to"
        )
    return fields[0].name


def rules_of(owner: type, role: str) -> list[tuple[str, Callable[..., Any]]]:
    """(name, function) of the methods marked with `role`, in the order of definition."""
    found: dict[str, Callable[..., Any]] = {}
    for base in reversed(owner.__mro__):
        found |= {name: member for name, member in vars(base).items() if getattr(member, "__bennu__", None) == role}
    return list(found.items())


def input_type(owner: type, name: str, rule: Callable[..., Any], *, position: int = 2) -> type[Message]:
    """The message class that annotates parameter number `position` (0 is self)."""
    parameters = list(inspect.signature(rule).parameters)
    where = f"{owner.__qualname__}.{name}"
    if len(parameters) <= position:
        raise BadSettings(f"{where}: expected at least {position + 1} parameters, found {len(parameters)}")
    found = get_type_hints(rule).get(parameters[position])
    if not (inspect.isclass(found) and issubclass(found, Message)):
        raise BadSettings(
            f"{where}: parameter `{parameters[position]}` must be annotated with a protobuf message class"
        )
    return found


def returned_types(rule: Callable[..., Any]) -> list[type[Message]]:
    """The message classes that the return annotation names, through unions, lists and tuples."""
    found: list[type[Message]] = []
    todo: list[Any] = [get_type_hints(rule).get("return")]
    while todo:
        hint = todo.pop()
        if inspect.isclass(hint) and issubclass(hint, Message):
            found.append(hint)
        elif get_origin(hint) in (Union, types.UnionType, list, tuple) or _is_sequence(hint):
            todo += get_args(hint)
    return found


def _is_sequence(hint: Any) -> bool:  # noqa: ANN401 - annotations are any object
    origin = get_origin(hint)
    return inspect.isclass(origin) and issubclass(origin, typing.Sequence)
