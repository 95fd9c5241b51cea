"""A CServer's and a Saga's partition for one step: memory rebuilt from the journal, something done, the record of it.

Nothing outlives a step but the journals, so each step is also a crash of its process.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import msgspec
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from bennu.domain.app import App
from bennu.domain.scenario import States
from bennu.errors import BadSettings, BennuError
from bennu.explore.failures import Raised
from bennu.explore.values import Taken
from bennu.log.port import Log, Record
from bennu.ops.answers import OK
from bennu.ops.metrics import Metrics
from bennu.ops.readiness import Readiness
from bennu.ops.topics import numbered_sources
from bennu.replica.batch import OpenBatch
from bennu.replica.fold import AggregateFold
from bennu.replica.history import Judged
from bennu.replica.journal import FORMAT_VERSION, JournalReader, Position, decode, encode
from bennu.replica.leader import Replica
from bennu.replica.pauses import Pauses
from bennu.replica.state import Fold, ReplicaState
from bennu.testing.clock import ManualClock
from bennu.v1.command_pb2 import Origin
from bennu.v1.journal_pb2 import EpochStart, EventBatch
from bennu.v1.saga_pb2 import SagaCommandIssued
from bennu_cserver.command_loop import Partition as CommandPartition
from bennu_cserver.intake import Intake, Refused
from bennu_cserver.log_input import CommandLogReader
from bennu_cserver.observed import Observed
from bennu_cserver.submission import Prepared, Submission
from bennu_saga.definitions import Definitions
from bennu_saga.event_input import EventJournalReader
from bennu_saga.fold import SagaFold
from bennu_saga.outbox import Command
from bennu_saga.reactor import Reactor
from bennu_saga.saga_loop import Delivery
from bennu_saga.saga_loop import Partition as SagaPartition
from bennu_saga.signals import Signals
from bennu_saga.state import ASKED, COMPENSATION, DONE, RESTING, SagaState

NO_LOG = cast(Log, None)
"""A replica that is only told what to do reads and writes none."""
REFUSAL = "explored_refusal"
REFUSED = (REFUSAL, "the exploration has the participant refuse")
WINDOW = 1_000_000


def first_record(partition: int, partitions: int) -> bytes:
    """The epoch that all of an exploration happens in."""
    return encode(
        EpochStart(
            format_version=FORMAT_VERSION,
            epoch=1,
            term=1,
            node="explored",
            partition=partition,
            partitions=partitions,
            window_count=WINDOW,
            window_age_ms=WINDOW * 1_000,
        )
    )


def leading(topic: str, fold: Fold, journal: Sequence[bytes], *, place: tuple[int, int], now_us: int) -> Replica:
    """A replica that has read its journal and leads."""
    state, reader = ReplicaState(fold, partition=place[0], partitions=place[1]), JournalReader(Position(topic))
    for offset, body in enumerate(journal):
        verdict, record = reader.classify(offset, body)
        state.take(Judged(offset, verdict, record, reader.position))
    clock = ManualClock()
    clock.advance_us(now_us)
    replica = Replica(NO_LOG, reader.position, state, clock=clock)
    replica.lead()
    replica.open = OpenBatch(replica.open.recorded_at_us)
    return replica


class Place(NamedTuple):
    """A partition of an app."""

    app: App
    number: int
    partitions: int
    events: str
    """Its topics."""
    commands: str


def places_of(app: App, partitions: int) -> list[Place]:
    """The partitions of an app and of its participants, so many each."""
    return [
        Place(each, number, partitions, f"{each.name}-events-{number}", f"{each.name}-commands-{number}")
        for each in app.apps
        for number in range(partitions)
    ]


def check_names(app: App) -> None:
    """Raise `BadSettings` where two apps call an aggregate alike: a scenario's check knows them by name."""
    owners: dict[str, App] = {}
    for each in app.apps:
        for kind in each.kinds:
            if (owner := owners.setdefault(kind.name, each)) is not each:
                raise BadSettings(f"apps `{owner.name}` and `{each.name}` both have a {kind.name}: rename one")


class Participant:
    """The CServer of one partition."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._app = place.app
        self._raised = Raised()
        self._intake = Intake(place.app, lambda: 0)
        sources = numbered_sources(place.app.name, place.partitions, place.app.callers)
        observed = Observed(Metrics(), Readiness(), place.partitions)
        of = (place.number, place.partitions)
        self._reader = CommandLogReader(place.app, place.commands, of, observed=observed, sources=sources)

    def carry_out(self, journal: Sequence[bytes], command: Message) -> tuple[bytes, str]:
        """A client's command: the record of its batch, and why it was refused, if it was."""
        name = command.DESCRIPTOR.full_name
        try:
            prepared = self._intake.command(name, command.SerializeToString(), f"given-{len(journal)}", origin=Origin())
        except Refused as refused:
            return b"", str(refused)
        submission = Submission([prepared], lambda _submission, _batch_no: None)
        body = self._decided(journal, submission, now_us=0)
        raised = self._raised.take()
        return body, "; ".join(raised) or _why(*submission.replies[0])

    def take(self, journal: Sequence[bytes], commands: Sequence[bytes], *, refuse: bool, now_us: int) -> Taken:
        """The newest record of the command log: the record of its batch.  `refuse`: refuse all of it by fiat."""
        submission = self._reader.submission(self._intake, len(commands) - 1, commands[-1])
        if refuse:
            submission.commands = [_refused(command) for command in submission.commands]
        return Taken(self._decided(journal, submission, now_us=now_us), self._raised.take())

    def states(self, journal: Sequence[bytes]) -> States:
        """What it holds."""
        fold, place = AggregateFold(self._app), (self._place.number, self._place.partitions)
        leading(self._place.events, fold, journal, place=place, now_us=0)
        held = zip(self._app.kinds, fold.states, strict=True)
        return {kind.name: dict(states.items()) for kind, states in held}

    def _decided(self, journal: Sequence[bytes], submission: Submission, *, now_us: int) -> bytes:
        fold, place = AggregateFold(self._app, self._raised), (self._place.number, self._place.partitions)
        replica = leading(self._place.events, fold, journal, place=place, now_us=now_us)
        partition = CommandPartition(replica, fold, Pauses())
        partition.submit(submission)
        while submission.next < len(submission.commands) or (submission.input_topic and not replica.open.inputs):
            partition.decide_some()
        return replica.seal()[0]


def _why(code: int, content: bytes) -> str:
    """The reason of a refusal, and what is said of it."""
    if code == OK:
        return ""
    status, info = status_pb2.Status.FromString(content), error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    return info.reason if status.message == info.reason else f"{info.reason}: {status.message}"


def _refused(command: Prepared) -> Prepared:
    return msgspec.structs.replace(command, rule=None, refusal=REFUSED)


class TimerLost(BennuError):
    """A saga would wait for what never comes."""


class Sagas:
    """The one partition of an app's sagas, for one step."""

    def __init__(
        self, definitions: Definitions, places: Sequence[Place], journal: Sequence[bytes], *, now_us: int
    ) -> None:
        self._definitions = definitions
        self.topic = f"{definitions.app.name}-saga-0"
        self.fold = SagaFold()
        self.replica = leading(self.topic, self.fold, journal, place=(0, 1), now_us=now_us)
        counts = {place.app.name: place.partitions for place in places}
        self.partition = SagaPartition(self.replica, self.fold, Reactor(definitions, self.fold, counts))

    def journaled(self, topic: str) -> int:
        """Records of this event journal whose effects are journaled."""
        saved = self.replica.state.inputs.get(topic)
        return saved.offset if saved else 0

    def read(self, place: Place, events: Sequence[bytes]) -> int:
        """React to the next batch that means something, from where effects are journaled on; what is read then."""
        for delivery in self._deliveries(place, events):
            self.partition.submit(delivery)
            self.partition.react_some()
            if self.replica.open.command_ids:
                return delivery.position.offset
        return len(events)

    def hears(self, place: Place, events: Sequence[bytes]) -> bool:
        """Whether any of it means something."""
        return any(delivery.signals for delivery in self._deliveries(place, events))

    def _deliveries(self, place: Place, events: Sequence[bytes]) -> Iterator[Delivery]:
        saved = self.replica.state.inputs.get(place.events)
        reader = JournalReader(Position.from_proto(saved) if saved else Position(place.events))
        signals = Signals(self._definitions, self.topic, (0, 1), app=place.app)
        inputs = EventJournalReader(signals, place.events, (place.number, place.partitions))
        first = reader.position.offset
        chunk = [Record(offset, body) for offset, body in enumerate(events[first:], first)]
        return inputs.deliveries(reader, chunk)

    def fire(self) -> None:
        """The timer that is due."""
        self.partition.answers_seen_us = self.replica.tick()
        self.partition.react_some()

    def check_timers(self) -> None:
        """Raise `TimerLost` if a step that waits, or rests, would do so for ever."""
        dues: list[int] = []
        for saga_id, saga in self.fold.sagas.items():
            definition = self._definitions.get(saga.definition, saga.version)
            assert definition is not None, "it was started by it"
            for planned, step in zip(definition.plan, saga.steps, strict=False):
                wanted = step.phase == RESTING or (step.phase == ASKED and planned.timeout_ms > 0)
                if wanted and not step.due_at_us:
                    raise TimerLost(f"{saga_id}: step `{planned.name}` waits for ever: it has no timer")
                if step.due_at_us and not saga.parked:
                    dues.append(step.due_at_us)
        timer = self.fold.next_timer()
        if dues and (timer is None or timer[0] != min(dues)):
            raise TimerLost(f"the timer due at {min(dues)} is lost; the next one is {timer}")

    def memory(self) -> bytes:
        """All that what comes next depends on, but for positions: journals that come to the same are as good as one."""
        fold = self.fold
        sagas = sorted((saga_id, self._without_order(saga)) for saga_id, saga in fold.sagas.items())
        boxes = sorted(
            (box.destination, box.last_no, tuple(map(without_cause, box.unconfirmed)))
            for box in fold.outbox.boxes.values()
        )
        counts = sorted(fold.counts.items())
        return msgspec.msgpack.encode((sagas, sorted(fold.awaiting.items()), boxes, counts))

    def _without_order(self, saga: SagaState) -> SagaState:
        """After the pivot nothing is undone, so it does not matter what was done last."""
        definition = self._definitions.get(saga.definition, saga.version)
        assert definition is not None, "it was started by it"
        if any(step.pivot and saga.at(index).phase == DONE for index, step in enumerate(definition.plan)):
            return msgspec.structs.replace(saga, order=tuple(sorted(saga.order)))
        return saga

    def record(self) -> bytes | None:
        """What is to be appended to its journal; None: nothing happened that matters."""
        return self.partition.seal()[0] if self.replica.open.command_ids else None


def batches(topic: str, journal: Sequence[bytes]) -> Sequence[EventBatch]:
    """The batches of a journal, all of which are effective."""
    reader = JournalReader(Position(topic))
    found = (reader.classify(offset, body)[1] for offset, body in enumerate(journal))
    return [record for record in found if isinstance(record, EventBatch)]


def without_cause(command: Command) -> Command:
    """Which of several answers led to it is for people to know; nothing that happens depends on it."""
    actor, correlation, _, trace = command.origin
    return command._replace(origin=(actor, correlation, "", trace))


def undone_by(body: bytes) -> tuple[str, ...]:
    """The compensations that a record of a saga journal issues, in order."""
    batch, name = decode(body, where="explored"), SagaCommandIssued.DESCRIPTOR.full_name
    assert isinstance(batch, EventBatch), "it is what was sealed"
    kinds = [batch.event_types[index] for index in batch.event_type_indexes]
    issued = [SagaCommandIssued.FromString(raw) for kind, raw in zip(kinds, batch.events, strict=True) if kind == name]
    return tuple(each.command_id for each in issued if each.role == COMPENSATION)
