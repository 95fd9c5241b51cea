"""A journal's record as plain data, for `bennu journal dump`."""

import base64
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.message import DecodeError, Message

from bennu.domain.app import App
from bennu.replica.history import Judged
from bennu.replica.journal import Verdict
from bennu.v1 import saga_pb2  # noqa: F401  a saga's events are known to every journal
from bennu.v1.command_pb2 import Rejection
from bennu.v1.journal_pb2 import EpochStart, EventBatch, Outcome

Plain = dict[str, object]
Find = Callable[[str], type[Message] | None]

WORDS = {Verdict.VOID: "void", Verdict.DUPLICATE: "duplicate", Verdict.EPOCH: "effective", Verdict.BATCH: "effective"}
OUTCOMES = {
    Outcome.OUTCOME_UNSPECIFIED: "event",
    Outcome.OUTCOME_MESSAGE: "message",
    Outcome.OUTCOME_REJECTED: "rejected",
    Outcome.OUTCOME_FAILED: "failed",
}
EPOCH_1970 = datetime(1970, 1, 1, tzinfo=UTC)


def plain(found: Judged, app: App | None) -> Plain:
    """The record; with an app its events and replies as JSON, without one as base64."""
    record = found.record
    kind = "epoch_start" if isinstance(record, EpochStart) else "batch"
    head: Plain = {"offset": found.offset, "verdict": WORDS[found.verdict], "kind": kind}
    head |= {"epoch": record.epoch, "term": f"{record.term:016x}", "recorded_at": _time(record.recorded_at_us)}
    if isinstance(record, EpochStart):
        return head | {"node": record.node, "partition": record.partition, "partitions": record.partitions}
    head |= {"batch_no": record.batch_no, "first_seq": record.first_seq, "state_digest": record.state_digest.hex()}
    head["inputs"] = {position.topic: position.offset for position in record.inputs}
    head["sources"] = {cursor.stream: cursor.last_no for cursor in record.sources}
    head["outboxes"] = {cursor.stream: cursor.last_no for cursor in record.outboxes}
    return head | {"entries": list(_entries(record, app))}


def _entries(batch: EventBatch, app: App | None) -> Iterator[Plain]:
    events = zip(batch.event_type_indexes, batch.events, strict=True)
    replies = iter(batch.replies)
    for i, command_id in enumerate(batch.command_ids):
        command, outcome = batch.command_types[batch.command_type_indexes[i]], batch.outcomes[i]
        origin = batch.origin_indexes[i] if batch.origin_indexes else 0
        entry: Plain = {
            "command_id": command_id,
            "command": command,
            "outcome": OUTCOMES.get(Outcome.ValueType(outcome), str(outcome)),
        }
        entry["actor"] = batch.origins[origin].actor if batch.origins else ""
        if batch.origins and batch.origins[origin].reason:
            entry["reason"] = batch.origins[origin].reason
        if outcome != Outcome.OUTCOME_UNSPECIFIED:
            entry["reply"] = _reply(next(replies), command, outcome=outcome, app=app)
        own = islice(events, batch.event_counts[i])
        entry["events"] = [_event(batch.event_types[index], raw, app) for index, raw in own]
        yield entry


def _reply(raw: bytes, command: str, *, outcome: int, app: App | None) -> object:
    if outcome != Outcome.OUTCOME_MESSAGE:
        return _decoded(Rejection, raw)
    known = app is not None and command in app.methods
    return _decoded(app.reply_message(command), raw) if known and app is not None else _base64(raw)


def _event(type_name: str, raw: bytes, app: App | None) -> Plain:
    message = (app.message(type_name) if app is not None else None) or _bennus_own(type_name)
    return {"type": type_name, "data": _decoded(message, raw) if message is not None else _base64(raw)}


def _bennus_own(type_name: str) -> type[Message] | None:
    if not type_name.startswith("bennu.v1."):
        return None
    try:
        return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(type_name))
    except KeyError:
        return None


def _decoded(message: type[Message], raw: bytes) -> object:
    try:
        return json_format.MessageToDict(message.FromString(raw), preserving_proto_field_name=True)
    except DecodeError:
        return _base64(raw)


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _time(recorded_at_us: int) -> str:
    return (EPOCH_1970 + timedelta(microseconds=recorded_at_us)).isoformat()


def lines(record: Plain) -> Iterator[str]:
    """The record for a person; what clients wrote can't move the cursor of a terminal."""
    head = {name: value for name, value in record.items() if name != "entries" and value not in ("", {})}
    yield _printable("  ".join(f"{name} {value}" for name, value in head.items()))
    entries = record.get("entries")
    for entry in entries if isinstance(entries, list) else ():
        because = f", because: {entry['reason']}" if "reason" in entry else ""
        done = f"{entry['command_id']}  {entry['command']}  {entry['outcome']}  by {entry['actor']}"
        yield _printable(f"    {done}{because}")
        if "reply" in entry:
            yield _printable(f"        reply {entry['reply']}")
        for event in entry["events"]:
            yield _printable(f"        {event['type']} {event['data']}")


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
