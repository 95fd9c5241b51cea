"""Messages that are only described: nothing has to be generated for a small app of a test or a measurement."""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

from bennu.v1 import options_pb2

TEXT, NUMBER = FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.TYPE_INT64
Fields = Mapping[str, FieldDescriptorProto.Type.ValueType]


def described(
    service: str, messages: Mapping[str, Fields], *, inputs: Sequence[str], output: str
) -> tuple[ServiceDescriptor, list[Any]]:
    """The service of this full name, and the classes of its package's messages, in their order.

    A message's first field is its key; each of `inputs` has a method of its name, which returns `output`.  The classes
    are `Any` here; a `.pyi` beside the module that names them tells mypy more.  A service is described once a process.
    """
    package, _, name = service.rpartition(".")
    file = FileDescriptorProto(
        name=f"{service.replace('.', '/')}.proto",
        package=package,
        syntax="proto3",
        dependency=["bennu/v1/options.proto"],
        message_type=[_message(message, fields) for message, fields in messages.items()],
    )
    found = file.service.add(name=name)
    for each in inputs:
        found.method.add(name=each, input_type=f".{package}.{each}", output_type=f".{package}.{output}")
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    types = [pool.FindMessageTypeByName(f"{package}.{message}") for message in messages]
    return pool.FindServiceByName(service), [message_factory.GetMessageClass(each) for each in types]


def _message(name: str, fields: Fields) -> DescriptorProto:
    message = DescriptorProto(name=name)
    for number, (field, kind) in enumerate(fields.items(), start=1):
        message.field.add(name=field, number=number, type=kind, label=FieldDescriptorProto.LABEL_OPTIONAL)
    message.field[0].options.Extensions[options_pb2.key] = True
    return message
