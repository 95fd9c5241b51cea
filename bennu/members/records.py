"""Records of the members log, as bytes and back."""

from google.protobuf.message import DecodeError

from bennu.v1.members_pb2 import HandoverAsked, Heartbeat, MembersRecord

FORMAT_VERSION = 1


def encode(record: Heartbeat | HandoverAsked) -> bytes:
    """Bytes of a record."""
    if isinstance(record, Heartbeat):
        return MembersRecord(format_version=FORMAT_VERSION, heartbeat=record).SerializeToString()
    return MembersRecord(format_version=FORMAT_VERSION, handover_asked=record).SerializeToString()


def decode(body: bytes) -> Heartbeat | HandoverAsked | None:
    """The record; None for what this version of Bennu does not understand, which is then of no interest."""
    try:
        record = MembersRecord.FromString(body)
    except DecodeError:
        return None
    kind = record.WhichOneof("record")
    if record.format_version != FORMAT_VERSION or kind is None:
        return None
    return record.heartbeat if kind == "heartbeat" else record.handover_asked
