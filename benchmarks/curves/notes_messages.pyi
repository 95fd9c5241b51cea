"""What `notes_messages` makes at run time, for mypy."""

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

NOTES: ServiceDescriptor

class Write(Message):
    note: str
    text: str
    def __init__(self, *, note: str = ..., text: str = ...) -> None: ...

class Written(Message):
    note: str
    text: str
    def __init__(self, *, note: str = ..., text: str = ...) -> None: ...

class GetNote(Message):
    note: str
    def __init__(self, *, note: str = ...) -> None: ...

class NoteView(Message):
    note: str
    length: int
    written: int
    def __init__(self, *, note: str = ..., length: int = ..., written: int = ...) -> None: ...
