"""What a batch of an event journal means to a saga partition: answers to commands, and events that sagas wait for or
are started by.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from google.protobuf.message import DecodeError, Message

from bennu.domain.app import App
from bennu.domain.saga import COMMAND_ID_PREFIX
from bennu.errors import RecordBroken, UnknownToBuild
from bennu.replica.decision import EVENT, FAILED, REJECTED
from bennu.replica.known import check_events
from bennu.v1.command_pb2 import Origin, Rejection
from bennu.v1.journal_pb2 import EventBatch
from bennu.wire.partitioning import partition_of
from bennu.wire.reasons import RULE_FAILED
from bennu_saga.definitions import Definition, Definitions, RuleFailed, key_of


class Answer(NamedTuple):
    """A command that CServer decided; perhaps one of ours."""

    entry: int
    command_id: str
    accepted: bool
    reason: str
    types: Sequence[str] = ()
    """Of its events, which are kept only where a saga may hear one of them."""
    events: Sequence[bytes] = ()
    unknown: str = ""
    """Type of an event of it that this build does not know."""


class Heard(NamedTuple):
    """An event that carries out, or refuses, a step of a saga of this partition."""

    entry: int
    saga_id: str
    version: int
    step: int
    accepted: bool
    type_name: str
    event: bytes


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


Signal = Answer | Heard | Trigger


class Signals:
    """Finds the signals for one partition of sagas in the event journals of one app.

    `journal` is the topic of the sagas: the stream that answers name.
    """

    def __init__(
        self, definitions: Definitions, journal: str, place: tuple[int, int], *, app: App | None = None
    ) -> None:
        """`app`: whose events; those of the sagas' own app if nothing is said."""
        self._definitions = definitions
        self._app = app or definitions.app
        self._place_of_app = "" if self._app is definitions.app else f"{self._app.name}-"
        self._journal = journal
        self._number, self._partitions = place
        named = f"{re.escape(definitions.app.name)}/" if self._place_of_app else "[^:/]+:"
        # Too long a name is given as its digest, which does not say whose it is.
        self._is_ours = re.compile(f"{COMMAND_ID_PREFIX}({named}|[0-9a-f]{{24}}:)").match
        upcasts = self._app.upcasts.keys()
        self._starting = definitions.by_trigger.keys() | definitions.listening.keys() | upcasts
        self._hearing = definitions.heard | upcasts

    def of(self, batch: EventBatch, source: int, *, where: str) -> Sequence[Signal]:
        """In the order of entries; `source` is the number of the event journal's partition.

        Raises `UnknownToBuild` for an event type that the app does not know.  A batch of no interest is passed over by
        its header.
        """
        starting = {index for index, name in enumerate(batch.event_types) if name in self._starting}
        answers = any(cursor.stream == self._journal for cursor in batch.sources)
        try:
            strange = self._strange(batch, where)
            if not (starting or answers):
                return ()
            found: list[Signal] = list(self._answers(batch, strange)) if answers else []
            if starting:
                found += self._started_or_heard(batch, starting, source=source)
        except UnknownToBuild:
            raise
        except (DecodeError, IndexError, RecordBroken, ValueError) as error:
            raise RecordBroken(f"{where}: batch {batch.batch_no} can't be read ({error})") from error
        if starting and answers:
            found.sort(key=_entry)  # stable: an entry's answer comes before what its events start
        return found

    def taken_no(self, batch: EventBatch) -> int:
        """The greatest number of our stream of commands that it took; 0 if it took none."""
        return next((cursor.last_no for cursor in batch.sources if cursor.stream == self._journal), 0)

    def _strange(self, batch: EventBatch, where: str) -> Mapping[int, str]:
        """Entries with an event that the app does not know.  Raises `UnknownToBuild` if one answers no saga of ours."""
        app = self._app
        unknown = [name for name in batch.event_types if name not in app.known_events]
        if not unknown:
            return {}
        found: dict[int, str] = {}
        blamed, first = set(unknown), 0
        for entry, count in enumerate(batch.event_counts):
            types = {batch.event_types[index] for index in batch.event_type_indexes[first : first + count]}
            first += count
            if self._is_ours(batch.command_ids[entry]) and (strange := types.intersection(unknown)):
                found[entry] = min(strange)
                blamed -= strange
        check_events((name for name in unknown if name in blamed), app.known_events, app=app.name, where=where)
        return found

    def _answers(self, batch: EventBatch, strange: Mapping[int, str]) -> Iterator[Answer]:
        replies, first = iter(batch.replies), 0
        listen = bool(self._hearing.intersection(batch.event_types))
        for entry, (command_id, outcome) in enumerate(zip(batch.command_ids, batch.outcomes, strict=True)):
            reply = b"" if outcome == EVENT else next(replies, None)
            if reply is None:
                raise ValueError("replies are missing")
            if outcome >= REJECTED:
                yield Answer(entry, command_id, accepted=False, reason=_reason(outcome, reply))
            elif listen or strange:
                last = first + batch.event_counts[entry]
                types = [batch.event_types[index] for index in batch.event_type_indexes[first:last]]
                unknown = strange.get(entry, "")
                yield Answer(entry, command_id, True, "", types, batch.events[first:last], unknown)
            else:
                yield Answer(entry, command_id, accepted=True, reason="")
            first += batch.event_counts[entry]

    def _started_or_heard(self, batch: EventBatch, starting: set[int], *, source: int) -> Iterator[Signal]:
        types, indexes, events = list(batch.event_types), list(batch.event_type_indexes), list(batch.events)
        first, place = 0, f"{self._place_of_app}{source}"
        for entry, count in enumerate(batch.event_counts):
            for at in range(first, first + count):
                if indexes[at] in starting:
                    event = self._definitions.event(types[indexes[at]], events[at])
                    yield from self._heard_by(event, entry)
                    yield from self._started_by(event, f"{place}-{batch.first_seq + at}", batch=batch, entry=entry)
            first += count

    def _heard_by(self, event: Message, entry: int) -> Iterator[Heard]:
        name = event.DESCRIPTOR.full_name
        for definition, step, accepted, rule in self._definitions.listening.get(name, ()):
            try:
                key = key_of(rule, event)
            except RuleFailed as failed:  # an event without a key is nobody's
                self._definitions.told_of(failed, definition=definition.name, saga_id=f"{definition.name}:?")
                continue
            saga_id = f"{definition.name}:{key}"
            if partition_of(saga_id, self._partitions) == self._number:
                raw = event.SerializeToString()
                yield Heard(entry, saga_id, definition.version, step, accepted, name, raw)

    def _started_by(self, event: Message, instance: str, *, batch: EventBatch, entry: int) -> Iterator[Trigger]:
        for definition in self._definitions.by_trigger.get(event.DESCRIPTOR.full_name, ()):
            failure = ""
            try:
                key = key_of(definition.saga.key, event)
            except RuleFailed as failed:
                key, failure = f"?{instance}", f"{RULE_FAILED}: key: {failed}"
                self._definitions.told_of(failed, definition=definition.name, saga_id=f"{definition.name}:{key}")
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


def _reason(outcome: int, reply: bytes) -> str:
    """Of a refusal; of a rule that raised, with what: tables and operators are to see it."""
    rejection = Rejection.FromString(reply)
    return f"{RULE_FAILED}: {rejection.message}" if outcome == FAILED else rejection.reason


def _entry(signal: Signal) -> int:
    return signal.entry


def _origin(batch: EventBatch, entry: int) -> Origin:
    if not batch.origins:
        return Origin()
    return batch.origins[batch.origin_indexes[entry] if batch.origin_indexes else 0]
