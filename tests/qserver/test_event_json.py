"""Events as JSON: what protobuf's own mapping says, but numbers for 64-bit integers; never an error."""

import json
import math
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, json_format
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, NullValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import BoolValue, BytesValue, DoubleValue, FloatValue, Int64Value, UInt64Value
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo

from bank.v1.events_pb2 import DESCRIPTOR, Deposited, TransferRequested
from bennu.v1.command_pb2 import Origin
from bennu.v1.journal_pb2 import EpochStart, EventBatch, JournalRecord
from bennu.v1.saga_pb2 import SagaCommandIssued, SagaCommandRole
from bennu_qserver.event_json import json_of

FAR = Timestamp(seconds=2**62)
SAID = Struct()
SAID.update({"a": [1, None, {"b": True}], "c": "ü"})
ONE = Struct()
ONE.update({"a": [1, None]})
"""Of one entry: packed into an `Any`, maps are bytes, which differ by their order."""


def any_of(message: Message) -> AnyMessage:
    """Packed."""
    packed = AnyMessage()
    packed.Pack(message)
    return packed


SAME = [
    Deposited(),
    Deposited(account='q"\\\n\u2028é', amount_minor=-(2**63), balance_minor=2**63 - 1),
    TransferRequested(transfer="t", screened=True),
    JournalRecord(epoch_start=EpochStart()),
    JournalRecord(epoch_start=EpochStart(epoch=2**64 - 1, term=1, window_count=2**32 - 1)),
    EventBatch(
        events=[b"", b"\xff\x00"], event_counts=[0, 1], payload_digests=b"ab?", origins=[Origin(), Origin(actor="a")]
    ),
    SagaCommandIssued(role=SagaCommandRole.SAGA_COMMAND_ROLE_CLOSING),
    ErrorInfo(reason="r", metadata={"b": "1", "": ""}),
    RetryInfo(retry_delay=Duration(seconds=-3, nanos=-500_000_000)),
    FieldMask(paths=["a.b_c", "d"]),
    Timestamp(seconds=1, nanos=1),
    SAID,
    Value(null_value=NullValue.NULL_VALUE),
    ListValue(values=[Value(number_value=1.5)]),
    DoubleValue(value=math.inf),
    DoubleValue(value=-math.inf),
    DoubleValue(value=0.1),
    FloatValue(value=0.1),
    FloatValue(value=1e-45),
    FloatValue(value=-3.25e38),
    FloatValue(value=math.inf),
    Int64Value(value=-5),
    UInt64Value(value=2**64 - 1),
    BoolValue(),
    BytesValue(value=b"\xfb\xff"),
    any_of(Deposited(account="ann", amount_minor=5)),
    any_of(Duration(seconds=5)),
    any_of(any_of(ONE)),
    descriptor_pb2.FileDescriptorProto.FromString(DESCRIPTOR.serialized_pb),
    descriptor_pb2.FieldDescriptorProto(number=0, name="", label=descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED),
]


def numbers(said: Any, as_told: Any) -> Any:  # noqa: ANN401 - JSON
    """What protobuf's mapping said, with numbers where ours has them and it has the same in quotes."""
    if isinstance(said, dict):
        return {name: numbers(value, as_told.get(name)) for name, value in said.items()}
    if isinstance(said, list):
        return [numbers(value, told) for value, told in zip(said, as_told, strict=True)]
    return int(said) if type(as_told) is int and said == str(as_told) else said


@pytest.mark.parametrize("message", SAME, ids=lambda message: message.DESCRIPTOR.name)
def test_it_is_protobuf_s_own_mapping(message: Message) -> None:
    """Whatever kinds of fields there are; and any JSON parser of protobuf's makes the same message of it."""
    told = json.loads(json_of(message))
    assert numbers(json_format.MessageToDict(message, preserving_proto_field_name=True), told) == told
    assert json_format.Parse(json_of(message), type(message)()) == message


def test_whole_numbers_are_numbers() -> None:
    """Not texts, as that mapping would have them."""
    assert json_of(Deposited(account="a", amount_minor=2**63 - 1)) == f'{{"account":"a","amount_minor":{2**63 - 1}}}'
    assert json_of(Int64Value(value=7)) == "7"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (FAR, {"seconds": 2**62}),
        (Value(number_value=math.nan), {"number_value": "NaN"}),
        (FloatValue(value=math.nan), "NaN"),
        (AnyMessage(type_url="x/not.known", value=b"ab"), {"@type": "x/not.known", "value": "YWI="}),
        (
            AnyMessage(type_url="x/bank.v1.Deposited", value=b"\xff"),
            {"@type": "x/bank.v1.Deposited", "value": "/w=="},
        ),
        (EventBatch(outcomes=[99]), {"outcomes": [99]}),
        (SagaCommandIssued(role=99), {"role": 99}),  # type: ignore[arg-type]  # of a newer build
        (Empty(), {}),
    ],
    ids=str,
)
def test_what_has_no_form_of_its_own_is_said_all_the_same(message: Message, said: object) -> None:
    """A time too far away, a type or an enum's value that this build does not know."""
    assert json.loads(json_of(message)) == said


def test_proto_2_and_its_extensions() -> None:
    """Presence is what counts there; extensions stand by their full names."""
    (field,) = (field for field in DESCRIPTOR.message_types_by_name["Deposited"].fields if field.number == 1)
    assert json.loads(json_of(field.GetOptions())) == {"[bennu.v1.key]": True}
