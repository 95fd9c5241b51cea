"""What a journal speaks of, and what of it a build does not know, for `bennu journal verify`."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field

from bennu.domain.app import App
from bennu.v1 import saga_pb2
from bennu.v1.journal_pb2 import EventBatch
from bennu.v1.saga_pb2 import SagaEnded, SagaStarted

SAGA_RECORDS = frozenset(message.full_name for message in saga_pb2.DESCRIPTOR.message_types_by_name.values())


@dataclass
class TypeCount:
    """One type of event: how many there are, and where the first stands."""

    events: int
    offset: int
    batch_no: int
    seq: int
    known: bool | None
    """None where no app was named."""
    upcast_to: str = ""


@dataclass
class Types:
    """Types of events by name; and, of a saga's journal, the sagas under way."""

    app: App | None
    of_saga: bool
    by_name: dict[str, TypeCount] = field(default_factory=dict)
    _under_way: dict[str, SagaStarted] = field(default_factory=dict)

    def add(self, batch: EventBatch, offset: int) -> None:
        """Count the events of an effective batch whose columns fit."""
        indexes = list(batch.event_type_indexes)
        for index, count in Counter(indexes).items():
            name = batch.event_types[index]
            if name not in self.by_name:
                seq = batch.first_seq + indexes.index(index)
                self.by_name[name] = TypeCount(0, offset, batch.batch_no, seq, self._knows(name), self._newer(name))
            self.by_name[name].events += count
        if self.of_saga:
            self._follow(batch)

    def _knows(self, name: str) -> bool | None:
        if self.of_saga:
            return name in SAGA_RECORDS
        return None if self.app is None else name in self.app.known_events

    def _newer(self, name: str) -> str:
        return "" if self.app is None else self.app.newest(name)

    def _follow(self, batch: EventBatch) -> None:
        for index, raw in zip(batch.event_type_indexes, batch.events, strict=True):
            if batch.event_types[index] == SagaStarted.DESCRIPTOR.full_name:
                started = SagaStarted.FromString(raw)
                self._under_way[started.saga_id] = started
            elif batch.event_types[index] == SagaEnded.DESCRIPTOR.full_name:
                self._under_way.pop(SagaEnded.FromString(raw).saga_id, None)

    @property
    def unknown(self) -> dict[str, TypeCount]:
        """Those that this build does not know, the first first."""
        return {name: found for name, found in self.by_name.items() if found.known is False}

    def lacks(self) -> Iterator[str]:
        """What this build would have to know to go on from here, in words."""
        for name, found in self.unknown.items():
            place = f"offset {found.offset}, batch {found.batch_no}, seq {found.seq}"
            yield f"event type {name} ({found.events}, the first at {place})"
        if self.app is not None and self.of_saga:
            declared = {(type(saga).__qualname__, saga.version) for saga in self.app.sagas}
            under_way = Counter((saga.definition, saga.version) for saga in self._under_way.values())
            for (name, version), count in under_way.items():
                if (name, version) not in declared:
                    yield f"saga {name}, version {version} ({count} under way)"
            triggers = Counter(saga.trigger_type for saga in self._under_way.values())
            for name, count in triggers.items():
                if name not in self.app.known_events:
                    yield f"event type {name} (it started {count} sagas under way)"

    def as_dict(self) -> Mapping[str, object]:
        """Plain data."""
        return {name: asdict(found) for name, found in self.by_name.items()}

    def lines(self) -> Iterator[str]:
        """A line a type, for a person."""
        for name, found in self.by_name.items():
            newer = f", upcast to {found.upcast_to}" if found.upcast_to else ""
            yield f"{name} {found.events}{newer}" + (", not known to this build" if found.known is False else "")
