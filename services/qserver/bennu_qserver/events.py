"""Events as a projection takes them, and which aggregate each is about."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import NamedTuple, Protocol

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError, Message

from bennu.domain import App, EventMeta, Rows
from bennu.domain.messages import key_of
from bennu.errors import BadSettings
from bennu.v1.command_pb2 import Origin
from bennu.v1.journal_pb2 import EventBatch
from bennu_qserver.errors import EventFault, ProjectionFailed
from bennu_qserver.owners import About
from bennu_qserver.values import mended_text

RULE_FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    DecodeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a faulty rule raises; anything else is no fault of the event's."""

SAGA = "saga"
"""What records of sagas are about: not their definition, which only the first one names."""


class AggregateKey(NamedTuple):
    """Which aggregate an event is about, as Postgres can hold it."""

    aggregate: str
    key: str

    def __str__(self) -> str:
        return f"{self.aggregate} {self.key}"


class EventRows(Rows, Protocol):
    """What rules are given: rows that are told first whose turn it is."""

    def begin(self, event: About) -> None:
        """It is this event's."""


Rule = Callable[[Message, EventRows, EventMeta], None]
KeyOf = Callable[[Message], AggregateKey]


class Handler(NamedTuple):
    """From an event's bytes to the rule."""

    parse: Callable[[bytes], Message]
    rule: Rule
    key: KeyOf


class Event(NamedTuple):
    """One that the projection is interested in."""

    message: Message
    meta: EventMeta
    handler: Handler
    raw: bytes
    where: str

    @property
    def key(self) -> AggregateKey:
        """Not kept: asked for only while something is parked."""
        return self.handler.key(self.message)


def events_of(batch: EventBatch, handlers: Sequence[Handler | None], *, partition: int, where: str) -> Iterator[Event]:
    """Those with a handler; `handlers` are by type index.

    Raises `ValueError` or `IndexError` if the columns don't fit together, `DecodeError` for an event that is none.
    """
    if not sum(batch.event_counts) == len(batch.event_type_indexes) == len(batch.events):
        raise ValueError("its entries, event types and events differ in number")
    origins = [
        (origin.actor, origin.correlation_id, origin.causation_id, origin.reason, origin.traceparent)
        for origin in batch.origins or [Origin()]
    ]
    of_entry = list(batch.origin_indexes) or [0] * len(batch.command_ids)
    types = [batch.command_types[index] for index in batch.command_type_indexes] or [""] * len(batch.command_ids)
    seq, recorded_at_us = batch.first_seq, batch.recorded_at_us
    events = zip(batch.event_type_indexes, batch.events, strict=True)
    entries = zip(batch.command_ids, batch.event_counts, of_entry, types, strict=True)
    for command_id, count, origin, command_type in entries:
        actor, *said = origins[origin]
        for index, raw in islice(events, count):
            handler = handlers[index]
            if handler is not None:
                meta = EventMeta(partition, seq, recorded_at_us, command_id, actor, command_type, *said)
                yield Event(handler.parse(raw), meta, handler, raw, where)
            seq += 1


def project(event: Event, rows: EventRows) -> None:
    """Collect the row changes of an event.  Raises `EventFault` for a rule that can't do its work."""
    rows.begin(event)
    try:
        event.handler.rule(event.message, rows, event.meta)
    except ProjectionFailed as error:
        raise EventFault(f"{event.where}, seq {event.meta.seq}: {error}") from error
    except RULE_FAULTS as error:
        kind = event.message.DESCRIPTOR.full_name
        raise EventFault(f"{event.where}, seq {event.meta.seq}: the rule for {kind} raised {error!r}") from error


def unreadable(problem: str, raw: bytes, *, meta: EventMeta, where: str) -> Event:
    """An event whose rule does nothing but raise."""

    def rule(*_: object) -> None:
        raise ProjectionFailed(problem)

    return Event(Empty(), meta, Handler(Empty.FromString, rule, lambda _: AggregateKey("", "")), raw, where)


def event_key(app: App, name: str) -> KeyOf:
    """How the key of this event is found, which may be one that is upcast.

    A newer version may say in another field, or in other words, what an event is about; so a key is that of the newest.
    Where the upcaster itself fails there is only the old event to ask.
    """
    newest, steps = app.events[app.newest(name) or name], app.steps_from(name)
    aggregate = app.kinds[newest.aggregate].name
    if not steps:
        return lambda event: AggregateKey(aggregate, mended_text(newest.key(event)))
    old_key = _old_key(app, name)

    def key(event: Message) -> AggregateKey:
        try:
            newer = event
            for step in steps:
                newer = step.function(newer)
            return AggregateKey(aggregate, mended_text(newest.key(newer)))
        except RULE_FAULTS:
            return AggregateKey(aggregate, mended_text(old_key(event)))

    return key


def _old_key(app: App, name: str) -> Callable[[Message], str]:
    try:
        return key_of(app.upcasts[name].message)
    except BadSettings:  # no key is declared any more: such events share one
        return lambda _: ""


def saga_key() -> KeyOf:
    """How the key of a saga's record is found."""
    saga_id = attrgetter("saga_id")
    return lambda record: AggregateKey(SAGA, mended_text(saga_id(record)))
