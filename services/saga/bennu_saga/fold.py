"""The sagas of a partition in memory: what its journal's records change.

Sagas that ended are dropped: a starting event can be seen only once, because the position in its journal is exact,
so nothing has to be remembered to tell it from a repetition.  The ones in COMPENSATION_FAILED stay until somebody
has mended them.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import get_args

from google.protobuf.message import DecodeError

from bennu.errors import JournalBroken, RecordBroken, UnknownToBuild
from bennu.replica.agreement import Touched, digest_of, form_of
from bennu.replica.slices import Form, Load, Unfit
from bennu.v1.journal_pb2 import EventBatch
from bennu.v1.saga_pb2 import (
    SagaCommandAnswered,
    SagaCommandIssued,
    SagaEnded,
    SagaEventHeard,
    SagaInputPart,
    SagaOperated,
    SagaParked,
    SagaRetryScheduled,
    SagaRuleFailed,
    SagaStarted,
    SagaStepLeftOut,
    SagaTimerFired,
)
from bennu_saga import state, stored
from bennu_saga.outbox import Command, Outbox
from bennu_saga.state import AWAITS_EVENT, COMPENSATION_FAILED, RUNNING, STATE_VERSION, SagaState

Record = (
    SagaStarted
    | SagaCommandIssued
    | SagaCommandAnswered
    | SagaEventHeard
    | SagaRetryScheduled
    | SagaTimerFired
    | SagaStepLeftOut
    | SagaParked
    | SagaOperated
    | SagaRuleFailed
    | SagaEnded
    | SagaInputPart
)
_KINDS: tuple[type[Record], ...] = get_args(Record)
_PARSE: dict[str, Callable[[bytes], Record]] = {kind.DESCRIPTOR.full_name: kind.FromString for kind in _KINDS}


Timer = tuple[int, str, int]
"""Due at, in journaled time; saga; step."""


class SagaFold:
    """Sagas by id, what they wait for, and the outbox.  See `bennu.replica.state.Fold`."""

    form = form_of([("saga", SagaState)])

    def __init__(self) -> None:
        self.sagas: dict[str, SagaState] = {}
        self.awaiting: dict[str, str] = {}
        """Saga ids by the id of the command that each waits for."""
        self.failed: set[str] = set()
        """Sagas whose compensation failed and that nobody has mended."""
        self.parked: set[str] = set()
        """Sagas that can't go on by themselves."""
        self.by_definition: defaultdict[tuple[str, int], dict[str, None]] = defaultdict(dict)
        """Ids of sagas by name and version of their definition, the ones that started first before the others."""
        self.now_us = 0
        """Journaled time of what is evolved now."""
        self.outbox = Outbox()
        self.parts: dict[str, SagaInputPart] = {}
        """By topic: the input batch of which only a part is journaled."""
        self.counts: Counter[int] = Counter()
        """Started ones, under RUNNING, and ended ones by how; since the journal began."""
        self._touched: dict[str, None] = {}
        """Ids of sagas, and topics of parts, since the last digest; and of the last one."""
        self._covered: dict[str, None] = {}
        self._timers: list[Timer] = []
        self._evolve: dict[type, Callable[..., None]] = {
            SagaStarted: self._started,
            SagaCommandIssued: self._issued,
            SagaCommandAnswered: self._answered,
            SagaEventHeard: self._heard,
            SagaRetryScheduled: self._rests,
            SagaTimerFired: self._timer_fired,
            SagaStepLeftOut: self._left_out,
            SagaParked: self._parked,
            SagaOperated: self._operated,
            SagaRuleFailed: self._rule_failed,
            SagaEnded: self._ended,
            SagaInputPart: self._input_part,
        }

    @property
    def running(self) -> int:
        """Sagas that are under way."""
        return len(self.sagas) - len(self.failed)

    # --- replay

    def apply(self, batch: EventBatch, where: str) -> None:
        unknown = [name for name in batch.event_types if name not in _PARSE]
        if unknown:
            raise UnknownToBuild(
                f"{where}: {', '.join(unknown)}: no record of a saga journal known to this version of Bennu"
            )
        parsers = [_PARSE[name] for name in batch.event_types]
        self.now_us = batch.recorded_at_us
        try:
            for index, raw in zip(batch.event_type_indexes, batch.events, strict=True):
                self.evolve(parsers[index](raw))
        except (DecodeError, IndexError, ValueError) as error:
            raise RecordBroken(f"{where}: batch {batch.batch_no} has a record that can't be read ({error})") from error
        except KeyError as error:
            raise RecordBroken(f"{where}: batch {batch.batch_no} speaks of {error}, which is not running") from error
        except JournalBroken as error:
            raise JournalBroken(f"{where}: batch {batch.batch_no}: {error}") from error
        for cursor in batch.outboxes:
            self.outbox.box(cursor.stream).confirm(cursor.last_no)

    def evolve(self, record: Record) -> None:
        """Change what one record says."""
        self._evolve[type(record)](record)
        self._touched[record.topic if isinstance(record, SagaInputPart) else record.saga_id] = None

    def _started(self, record: SagaStarted) -> None:
        self.sagas[record.saga_id] = state.started(record)
        self.by_definition[record.definition, record.version][record.saga_id] = None
        self.counts[RUNNING] += 1

    def _issued(self, record: SagaCommandIssued) -> None:
        saga, box = self.sagas[record.saga_id], self.outbox.box(record.destination)
        state.issued(saga, record, box.destination)
        saga.steps[record.step].since_us = self.now_us
        repeats = record.command_id in self.awaiting
        self.awaiting[record.command_id] = record.saga_id
        origin = (f"saga:{saga.definition}", record.saga_id, record.causation_id, saga.traceparent)
        box.add(Command(record.no, record.command_id, record.type, record.payload, record.compensates, origin, repeats))
        if record.due_at_us:
            heapq.heappush(self._timers, (record.due_at_us, record.saga_id, record.step))

    def _answered(self, record: SagaCommandAnswered) -> None:
        dropped = state.answered(self.sagas[record.saga_id], record)
        if record.meaning != AWAITS_EVENT:
            self._drop(dropped)

    def _drop(self, command_ids: Iterable[str]) -> None:
        for command_id in filter(None, command_ids):
            del self.awaiting[command_id]

    def _heard(self, record: SagaEventHeard) -> None:
        self._drop(state.heard(self.sagas[record.saga_id], record))

    def _rests(self, record: SagaRetryScheduled) -> None:
        saga = self.sagas[record.saga_id]
        state.rests(saga, record)
        saga.steps[record.step].since_us = self.now_us
        heapq.heappush(self._timers, (record.due_at_us, record.saga_id, record.step))

    def _timer_fired(self, record: SagaTimerFired) -> None:
        self._drop(state.timer_fired(self.sagas[record.saga_id], record.command_id))

    def _left_out(self, record: SagaStepLeftOut) -> None:
        state.left_out(self.sagas[record.saga_id], record.step)

    def _parked(self, record: SagaParked) -> None:
        saga = self.sagas[record.saga_id]
        state.parked(saga, record)
        saga.stands_since_us = self.now_us
        self.parked.add(record.saga_id)

    def _operated(self, record: SagaOperated) -> None:
        saga = self.sagas[record.saga_id]
        self.failed.discard(record.saga_id)
        self.parked.discard(record.saga_id)
        self._drop(state.operated(saga, record))
        for index, step in enumerate(saga.steps):  # its timers stood still
            if step.due_at_us:
                heapq.heappush(self._timers, (step.due_at_us, record.saga_id, index))

    def _rule_failed(self, record: SagaRuleFailed) -> None:
        self._drop(state.rule_failed(self.sagas[record.saga_id], record))

    def _ended(self, record: SagaEnded) -> None:
        if record.status == COMPENSATION_FAILED:
            self.failed.add(record.saga_id)
            self.sagas[record.saga_id].stands_since_us = self.now_us
        else:
            saga = self.sagas.pop(record.saga_id)
            del self.by_definition[saga.definition, saga.version][record.saga_id]
            self._drop(step.awaited for step in saga.steps)
        self.counts[record.status] += 1

    def _input_part(self, record: SagaInputPart) -> None:
        self.parts[record.topic] = record

    # --- timers

    def next_timer(self) -> Timer | None:
        """The first one whose step still waits for it.  The others go."""
        timers = self._timers
        while timers and not self._runs(timers[0]):
            heapq.heappop(timers)
        return timers[0] if timers else None

    def _runs(self, timer: Timer) -> bool:
        due_at_us, saga_id, index = timer
        saga = self.sagas.get(saga_id)
        return saga is not None and not saga.parked and saga.at(index).due_at_us == due_at_us

    # --- integrity

    def digest(self) -> bytes:
        """Of the sagas touched since the last one, and the numbers of all outboxes; empty if no saga was touched."""
        self._covered, self._touched = self._touched, {}
        if not self._covered:
            return b""
        heads = sorted(self.outbox.heads().items())
        sagas = Touched("saga", list(self._covered), [self.sagas.get(name) for name in self._covered])
        outboxes = Touched("outbox", [name for name, _ in heads], [last_no for _, last_no in heads])
        return digest_of(self.form, (sagas, outboxes))

    def covered(self) -> list[str]:
        """Sagas, and input journals of which a part was taken."""
        return list(self._covered)

    # --- snapshots

    @property
    def forms(self) -> dict[str, Form]:
        """See `bennu.replica.state.Fold`."""
        return {"saga": Form(STATE_VERSION, self.form)}

    def dump(self) -> Iterator[bytes]:
        """See `bennu.replica.state.Fold`."""
        return stored.dump(self._memory)

    def load(self, forms: Mapping[str, Form]) -> Load:
        """See `bennu.replica.state.Fold`."""
        if forms != self.forms:
            raise Unfit("its sagas are those of another version of Bennu")
        return stored.load(self._memory)

    def put(self, saga_id: str, saga: SagaState) -> None:
        """A saga as it stands in another memory, with the answers that it waits for; its timers do not run here."""
        stored.put(self._memory, saga_id, saga)
        self.awaiting.update((step.awaited, saga_id) for step in saga.steps if step.awaited)

    @property
    def _memory(self) -> stored.Memory:
        return stored.Memory(
            self.sagas,
            self.failed,
            self.parked,
            self.by_definition,
            self.awaiting,
            self._timers,
            self.outbox,
            self.parts,
            self.counts,
            self._touched,
        )
