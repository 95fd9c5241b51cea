"""The messages of an app that exists in two builds, as descriptors: nobody has to generate code for a test."""

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

from bennu.v1 import options_pb2

TEXT, NUMBER = FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.TYPE_INT64
PACKAGE = "builds.v1"


def _message(name: str, **fields: FieldDescriptorProto.Type.ValueType) -> DescriptorProto:
    """Its first field is the key."""
    message = DescriptorProto(name=name)
    for number, (field, kind) in enumerate(fields.items(), start=1):
        message.field.add(name=field, number=number, type=kind, label=FieldDescriptorProto.LABEL_OPTIONAL)
    message.field[0].options.Extensions[options_pb2.key] = True
    return message


FILE = FileDescriptorProto(
    name="builds/v1/boxes.proto",
    package=PACKAGE,
    syntax="proto3",
    dependency=["bennu/v1/options.proto"],
    message_type=[
        _message("Fill", box=TEXT, amount=NUMBER),
        _message("GetBox", box=TEXT),
        _message("BoxView", box=TEXT, content=NUMBER),
        _message("Filled1", box=TEXT, amount=NUMBER),
        _message("Filled2", box=TEXT, amount=NUMBER, unit=TEXT),
        _message("Filled3", box=TEXT, grams=NUMBER),
    ],
)
_service = FILE.service.add(name="Boxes")
for _input in ("Fill", "GetBox"):
    _service.method.add(name=_input, input_type=f".{PACKAGE}.{_input}", output_type=f".{PACKAGE}.BoxView")

_pool = descriptor_pool.Default()
_pool.AddSerializedFile(FILE.SerializeToString())
BOXES = _pool.FindServiceByName(f"{PACKAGE}.Boxes")
Fill, GetBox, BoxView, Filled1, Filled2, Filled3 = (
    message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{PACKAGE}.{message.name}"))
    for message in FILE.message_type
)
