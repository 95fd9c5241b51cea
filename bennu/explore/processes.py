"""A CServer's and a Saga's partition for one step: memory rebuilt from the journal, something done, the record of it.

Nothing outlives a step but the journals, so each step is also a crash of its process.
"""

from collections.abc import Sequence
from typing import cast

from google.protobuf.message import Message

from bennu.domain.app import App
from bennu.domain.scenario import States
from bennu.errors import BennuError
from bennu.log.port import Log, Record
from bennu.ops.metrics import Metrics
from bennu.ops.readiness import Readiness
from bennu.ops.topics import numbered_sources
from bennu.replica.batch import OpenBatch
from bennu.replica.fold import AggregateFold
from bennu.replica.history import Judged
from bennu.replica.journal import FORMAT_VERSION, JournalReader, Position, encode
from bennu.replica.leader import Replica
from bennu.replica.pauses import Pauses
from bennu.replica.state import Fold, ReplicaState
from bennu.testing.clock import ManualClock
from bennu.v1.command_pb2 import Origin
from bennu.v1.journal_pb2 import EpochStart, EventBatch
from bennu_cserver.command_loop import Partition as CommandPartition
from bennu_cserver.intake import Intake
from bennu_cserver.log_input import CommandLogReader
from bennu_cserver.observed import Observed
from bennu_cserver.submission import Prepared, Submission
from bennu_saga.definitions import Definitions
from bennu_saga.event_input import EventJournalReader
from bennu_saga.fold import SagaFold
from bennu_saga.reactor import Reactor
from bennu_saga.saga_loop import Partition as SagaPartition
from bennu_saga.signals import Signals
from bennu_saga.state import ASKED, RESTING

NO_LOG = cast(Log, None)
"""A replica that is only told what to do reads and writes none."""
REFUSED = ("explored_refusal", "the exploration has the participant refuse")
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


class Participants:
    """The CServer partitions of an app."""

    def __init__(self, app: App, partitions: int) -> None:
        self.app = app
        self.partitions = partitions
        self._intake = Intake(app, lambda: 0)
        self._observed = Observed(Metrics(), Readiness(), partitions)

    def carry_out(self, number: int, journal: Sequence[bytes], command: Message) -> tuple[bytes, str]:
        """A client's command: the record of its batch, and why it was refused, if it was."""
        name = command.DESCRIPTOR.full_name
        prepared = self._intake.command(name, command.SerializeToString(), f"given-{len(journal)}", origin=Origin())
        submission = Submission([prepared], lambda _submission, _batch_no: None)
        body = self._decided(number, journal, submission, now_us=0)
        code, content = submission.replies[0]
        return body, content.decode(errors="replace") if code else ""

    def take(
        self, number: int, journal: Sequence[bytes], commands: Sequence[bytes], *, refuse: bool, now_us: int
    ) -> bytes:
        """The newest record of the command log: the record of its batch.  `refuse`: refuse all of it by fiat."""
        topic = f"{self.app.name}-commands-{number}"
        sources = numbered_sources(self.app.name, self.partitions)
        reader = CommandLogReader(self.app, topic, (number, self.partitions), observed=self._observed, sources=sources)
        submission = reader.submission(self._intake, len(commands) - 1, commands[-1])
        if refuse:
            submission.commands = [_refused(command) for command in submission.commands]
        return self._decided(number, journal, submission, now_us=now_us)

    def _decided(self, number: int, journal: Sequence[bytes], submission: Submission, *, now_us: int) -> bytes:
        fold, place = AggregateFold(self.app), (number, self.partitions)
        replica = leading(f"{self.app.name}-events-{number}", fold, journal, place=place, now_us=now_us)
        partition = CommandPartition(replica, fold, Pauses())
        partition.submit(submission)
        while submission.next < len(submission.commands) or (submission.input_topic and not replica.open.inputs):
            partition.decide_some()
        return replica.seal()[0]

    def states(self, journals: Sequence[Sequence[bytes]]) -> States:
        """What all of them hold."""
        found: dict[str, dict[str, object]] = {kind.name: {} for kind in self.app.kinds}
        for number, journal in enumerate(journals):
            fold = AggregateFold(self.app)
            leading(f"{self.app.name}-events-{number}", fold, journal, place=(number, self.partitions), now_us=0)
            for kind, states in zip(self.app.kinds, fold.states, strict=True):
                found[kind.name].update(states)
        return cast(States, found)


def _refused(command: Prepared) -> Prepared:
    return command._replace(rule=None, refusal=REFUSED)


class TimerLost(BennuError):
    """A saga would wait for what never comes."""


class Sagas:
    """The one partition of an app's sagas, for one step."""

    def __init__(self, definitions: Definitions, partitions: int, journal: Sequence[bytes], *, now_us: int) -> None:
        self._definitions = definitions
        self._partitions = partitions
        self.topic = f"{definitions.app.name}-saga-0"
        self._signals = Signals(definitions, self.topic, (0, 1))
        self._app = definitions.app.name
        self.fold = SagaFold()
        self.replica = leading(self.topic, self.fold, journal, place=(0, 1), now_us=now_us)
        self.partition = SagaPartition(self.replica, self.fold, Reactor(definitions, self.fold, partitions))

    def journaled(self, source: int) -> int:
        """Records of this event journal whose effects are journaled."""
        saved = self.replica.state.inputs.get(f"{self._app}-events-{source}")
        return saved.offset if saved else 0

    def read(self, source: int, events: Sequence[bytes]) -> int:
        """React to the next batch that means something, from where effects are journaled on; what is read then."""
        topic = f"{self._app}-events-{source}"
        saved = self.replica.state.inputs.get(topic)
        reader = JournalReader(Position.from_proto(saved) if saved else Position(topic))
        inputs = EventJournalReader(self._signals, topic, (source, self._partitions))
        first = reader.position.offset
        chunk = [Record(offset, body) for offset, body in enumerate(events[first:], first)]
        for delivery in inputs.deliveries(reader, chunk):
            self.partition.submit(delivery)
            self.partition.react_some()
            if self.replica.open.command_ids:
                return delivery.position.offset
        return len(events)

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

    def record(self) -> bytes | None:
        """What is to be appended to its journal; None: nothing happened that matters."""
        return self.partition.seal()[0] if self.replica.open.command_ids else None


def batches(topic: str, journal: Sequence[bytes]) -> Sequence[EventBatch]:
    """The batches of a journal, all of which are effective."""
    reader = JournalReader(Position(topic))
    found = (reader.classify(offset, body)[1] for offset, body in enumerate(journal))
    return [record for record in found if isinstance(record, EventBatch)]
