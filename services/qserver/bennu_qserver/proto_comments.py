"""Comments of tables and columns that the declaration leaves to the protos.

Generated code has none, so they are read from `protos.binpb` beside it, a descriptor set with source info:

    protoc ... --descriptor_set_out=penny/v1/protos.binpb --include_source_info

A column without a comment of its own has that of the field of its name: in the message that its table is said to be
`of`; else in the events that have rules, if those that say something say the same.  A table without one has that of
its message.  Where there is no such file, or nothing in it, a comment is empty.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import DecodeError, Message

from bennu.domain import Column, Table
from bennu.domain.messages import name_of
from bennu.errors import BadSettings

FILE = "protos.binpb"
_MESSAGES = FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER
_FIELDS, _NESTED = DescriptorProto.FIELD_FIELD_NUMBER, DescriptorProto.NESTED_TYPE_FIELD_NUMBER


def commented(tables: Sequence[Table], events: Iterable[type[Message]]) -> tuple[Table, ...]:
    """The tables, with the comments that are left to the protos; `events` are those that have rules.

    Raises `BadSettings` for a file that can't be read.
    """
    kinds = list(events)
    return tuple(_commented(table, kinds) for table in tables)


def _commented(table: Table, events: Sequence[type[Message]]) -> Table:
    columns = tuple(column if column.comment else _column(column, table.of, events) for column in table.columns)
    comment = table.comment or (_said(table.of) if table.of else "")
    return replace(table, columns=columns, comment=comment)


def _column(column: Column, of: type[Message] | None, events: Sequence[type[Message]]) -> Column:
    if of is not None and (comment := _said(of, column.name)):
        return replace(column, comment=comment)
    said = {_said(event, column.name) for event in events} - {""}
    return replace(column, comment=said.pop()) if len(said) == 1 else column


def _said(message: type[Message], *field: str) -> str:
    """Of the message, or a field of it; empty for what is not there."""
    package = str(message.__module__ or "").rpartition(".")[0]  # one that was made at run time has no module
    return _comments(package).get(".".join((name_of(message), *field)), "") if package else ""


@cache
def _comments(package: str) -> Mapping[str, str]:
    """All comments, by the full names of messages and fields."""
    path = files(package).joinpath(FILE)
    if not path.is_file():
        return {}
    try:
        protos = FileDescriptorSet.FromString(path.read_bytes())
    except DecodeError as error:
        raise BadSettings(
            f"{path}: it is no descriptor set ({error}); let protoc write it again, or remove it"
        ) from error
    return {name: comment for proto in protos.file for name, comment in _of_file(proto)}


def _of_file(proto: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    places = {
        tuple(place.path): " ".join((place.leading_comments or place.trailing_comments).split())
        for place in proto.source_code_info.location
    }
    for index, message in enumerate(proto.message_type):
        name = f"{proto.package}.{message.name}".removeprefix(".")
        yield from _of_message(message, name, (_MESSAGES, index), places=places)


def _of_message(
    message: DescriptorProto, name: str, path: tuple[int, ...], *, places: Mapping[tuple[int, ...], str]
) -> Iterator[tuple[str, str]]:
    yield name, places.get(path, "")
    for index, field in enumerate(message.field):
        yield f"{name}.{field.name}", places.get((*path, _FIELDS, index), "")
    for index, nested in enumerate(message.nested_type):
        yield from _of_message(nested, f"{name}.{nested.name}", (*path, _NESTED, index), places=places)
