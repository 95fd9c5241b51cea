"""The messages of `notes`, as descriptors: nothing has to be generated for a measurement."""

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

from bennu.v1 import options_pb2

TEXT, NUMBER = FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.TYPE_INT64
PACKAGE = "notes.v1"


def _message(name: str, **fields: FieldDescriptorProto.Type.ValueType) -> DescriptorProto:
    """Its first field is the key."""
    message = DescriptorProto(name=name)
    for number, (field, kind) in enumerate(fields.items(), start=1):
        message.field.add(name=field, number=number, type=kind, label=FieldDescriptorProto.LABEL_OPTIONAL)
    message.field[0].options.Extensions[options_pb2.key] = True
    return message


FILE = FileDescriptorProto(
    name="notes/v1/notes.proto",
    package=PACKAGE,
    syntax="proto3",
    dependency=["bennu/v1/options.proto"],
    message_type=[
        _message("Write", note=TEXT, text=TEXT),
        _message("Written", note=TEXT, text=TEXT),
        _message("GetNote", note=TEXT),
        _message("NoteView", note=TEXT, length=NUMBER, written=NUMBER),
    ],
)
_service = FILE.service.add(name="Notes")
for _input in ("Write", "GetNote"):
    _service.method.add(name=_input, input_type=f".{PACKAGE}.{_input}", output_type=f".{PACKAGE}.NoteView")

_pool = descriptor_pool.Default()
_pool.AddSerializedFile(FILE.SerializeToString())
NOTES = _pool.FindServiceByName(f"{PACKAGE}.Notes")
Write, Written, GetNote, NoteView = (
    message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{PACKAGE}.{message.name}"))
    for message in FILE.message_type
)
