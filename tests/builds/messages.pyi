"""What `messages` makes at run time, for mypy."""

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

BOXES: ServiceDescriptor

class Fill(Message):
    box: str
    amount: int
    def __init__(self, *, box: str = ..., amount: int = ...) -> None: ...

class GetBox(Message):
    box: str
    def __init__(self, *, box: str = ...) -> None: ...

class BoxView(Message):
    box: str
    content: int
    def __init__(self, *, box: str = ..., content: int = ...) -> None: ...

class Filled1(Message):
    box: str
    amount: int
    def __init__(self, *, box: str = ..., amount: int = ...) -> None: ...

class Filled2(Message):
    box: str
    amount: int
    unit: str
    def __init__(self, *, box: str = ..., amount: int = ..., unit: str = ...) -> None: ...

class Filled3(Message):
    box: str
    grams: int
    def __init__(self, *, box: str = ..., grams: int = ...) -> None: ...
