"""What a batch of an event journal means to a saga partition: events that start sagas, and answers to commands."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from google.protobuf.message import DecodeError, Message

from bennu.errors import RecordBroken
from bennu.replica.fold import EVENT, REJECTED
from bennu.replica.known import check_events
from bennu.v1.command_pb2 import Origin, Rejection
from bennu.v1.journal_pb2 import EventBatch
from bennu.wire.partitioning import partition_of
from bennu_saga.definitions import Definition, Definitions, RuleFailed, key_of


class Answer(NamedTuple):
    """A command that CServer decided; perhaps one of ours."""

    entry: int
    command_id: str
    accepted: bool
    reason: str


class Trigger(NamedTuple):
    """An event that starts a saga of this partition."""

    entry: int
    definition: Definition
    saga_id: str
    instance: str
    event: bytes
    command_id: str
    correlation_id: str
    traceparent: str
    failure: str = ""
    """Why the saga's key could not be made; its id is the event's place then."""


Signal = Answer | Trigger


class Signals:
    """Finds the signals for one partition of sagas.  `journal` is its topic: the stream that answers name."""

    def __init__(self, definitions: Definitions, journal: str, place: tuple[int, int]) -> None:
        self._definitions = definitions
        self._journal = journal
        self._number, self._partitions = place
        self._starting = definitions.by_trigger.keys() | definitions.app.upcasts.keys()

    def of(self, batch: EventBatch, source: int, *, where: str) -> Sequence[Signal]:
        """In the order of entries; `source` is the number of the event journal's partition.

        Raises `UnknownToBuild` for an event type that the app does not know.  A batch of no interest is passed over by
        its header.
        """
        app = self._definitions.app
        check_events(batch.event_types, app.known_events, app=app.name, where=where)
        starting = {index for index, name in enumerate(batch.event_types) if name in self._starting}
        answers = any(cursor.stream == self._journal for cursor in batch.sources)
        if not (starting or answers):
            return ()
        try:
            found: list[Signal] = list(_answers(batch)) if answers else []
            if starting:
                found += self._triggers(batch, starting, source=source)
        except (DecodeError, IndexError, RecordBroken, ValueError) as error:
            raise RecordBroken(f"{where}: batch {batch.batch_no} can't be read ({error})") from error
        if starting and answers:
            found.sort(key=_entry)  # stable: an entry's answer comes before what its events start
        return found

    def _triggers(self, batch: EventBatch, starting: set[int], *, source: int) -> Iterator[Trigger]:
        types, indexes, events = list(batch.event_types), list(batch.event_type_indexes), list(batch.events)
        first = 0
        for entry, count in enumerate(batch.event_counts):
            for at in range(first, first + count):
                if indexes[at] in starting:
                    event = self._definitions.event(types[indexes[at]], events[at])
                    yield from self._started_by(event, f"{source}-{batch.first_seq + at}", batch=batch, entry=entry)
            first += count

    def _started_by(self, event: Message, instance: str, *, batch: EventBatch, entry: int) -> Iterator[Trigger]:
        for definition in self._definitions.by_trigger.get(event.DESCRIPTOR.full_name, ()):
            failure = ""
            try:
                key = key_of(definition.saga, event)
            except RuleFailed as failed:
                key, failure = f"?{instance}", f"rule_failed: key: {failed}"
            saga_id = f"{definition.name}:{key}"
            if partition_of(saga_id, self._partitions) == self._number:
                origin = _origin(batch, entry)
                yield Trigger(
                    entry,
                    definition,
                    saga_id,
                    instance,
                    event.SerializeToString(),
                    batch.command_ids[entry],
                    origin.correlation_id,
                    origin.traceparent,
                    failure,
                )


def _entry(signal: Signal) -> int:
    return signal.entry


def _origin(batch: EventBatch, entry: int) -> Origin:
    if not batch.origins:
        return Origin()
    return batch.origins[batch.origin_indexes[entry] if batch.origin_indexes else 0]


def _answers(batch: EventBatch) -> Iterator[Answer]:
    replies = iter(batch.replies)
    for entry, (command_id, outcome) in enumerate(zip(batch.command_ids, batch.outcomes, strict=True)):
        reply = b"" if outcome == EVENT else next(replies, None)
        if reply is None:
            raise ValueError("replies are missing")
        if outcome < REJECTED:
            yield Answer(entry, command_id, accepted=True, reason="")
        else:
            yield Answer(entry, command_id, accepted=False, reason=Rejection.FromString(reply).reason)
