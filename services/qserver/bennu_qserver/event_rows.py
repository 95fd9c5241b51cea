"""The rule of `bennu.domain.EventTable`: a row for each event, of whatever type, as it was journaled.

An event that is upcast is shown by its old type, as it was written: so a row is the same whichever build writes it.
"""

from collections.abc import Mapping

from google.protobuf.message import Message

from bennu.domain import App, EventMeta, EventTable
from bennu.domain.messages import rules_of
from bennu.errors import BadSettings
from bennu_qserver.event_json import json_of
from bennu_qserver.events import EventRows, Handler, KeyOf, Rule, event_key
from bennu_qserver.values import EARLIEST_US, LATEST_US

ALL = ("*",)
"""What it handles: a type that is new to the app asks for no rebuild, since no event of it was written before."""


def handlers_of(app: App, projection: EventTable) -> dict[str, Handler | None]:
    """Of every type that may stand in the app's journals.  Raises `BadSettings` for one that has rules."""
    if rules := rules_of(type(projection), "projects"):
        raise BadSettings(
            f"{type(projection).__qualname__}.{rules[0][0]}: an {EventTable.__name__} takes every event as it is "
            "and has no rules; give them a projection of their own"
        )
    (table,) = projection.tables
    return {name: _handler(app, name, table=table.name) for name in app.known_events}


def _handler(app: App, name: str, *, table: str) -> Handler:
    message = app.events[name].message if name in app.events else app.upcasts[name].message
    key = event_key(app, name)
    kind = app.kinds[app.events[app.newest(name) or name].aggregate].state.__name__  # as `bennu inspect --kind` has it
    return Handler(message.FromString, _rule(table, {"type": name, "aggregate": kind}, key), key)


def _rule(table: str, of_type: Mapping[str, str], key_of: KeyOf) -> Rule:
    def show(event: Message, rows: EventRows, meta: EventMeta) -> None:
        rows.append(
            table,
            **of_type,
            partition=meta.partition,
            seq=meta.seq,
            recorded_at=min(max(meta.recorded_at_us, EARLIEST_US), LATEST_US),  # no clock keeps an event out
            key=key_of(event).key,
            payload=json_of(event),
            command_id=meta.command_id,
            command_type=meta.command_type,
            causation_id=meta.causation_id or None,
            correlation_id=meta.correlation_id or None,
            actor=meta.actor,
            reason=meta.reason or None,
            traceparent=meta.traceparent or None,
        )

    return show
