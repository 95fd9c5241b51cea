"""What can be seen of Saga from outside: its metrics, pre-bound, what it says, and which partitions it leads."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import structlog

from bennu.ops.metrics import Metrics
from bennu.ops.partitions import PartitionsObserved
from bennu.ops.readiness import Readiness
from bennu_saga.definitions import Definitions
from bennu_saga.fold import SagaFold
from bennu_saga.reactor import COMPENSATION_FAILURE, DUPLICATE_START, PARKED, REFUSED_CLOSING, TIME_OUT, Note
from bennu_saga.state import COMPENSATED, COMPENSATION_FAILED, COMPLETED, RESOLVED, RUNNING
from bennu_saga.stuck import stuck

logger = structlog.get_logger()

SAID = {
    COMPENSATION_FAILURE: "a compensation failed: this saga stands half undone until somebody mends it",
    REFUSED_CLOSING: "the initiator refused to hear of the end",
    PARKED: "a saga can't go on by itself: an operator has to say how",
    DUPLICATE_START: "an event would start a saga that is under way; passed over",
    TIME_OUT: "a step was not answered in time",
}
"""The log line of each kind of note."""


class Observed(PartitionsObserved):
    """Touched once a batch, not once a saga."""

    def __init__(self, metrics: Metrics, readiness: Readiness, partitions: int, *, definitions: Definitions) -> None:
        super().__init__(metrics, readiness, partitions)
        self._definitions = definitions
        numbers = [str(number) for number in range(partitions)]

        def gauges(name: str, text: str) -> list[Any]:  # a label's child has no type of its own
            return [metrics.gauge(name, text, partition=number) for number in numbers]

        self._running = gauges("bennu_sagas_running", "Sagas under way.")
        self._failed = gauges("bennu_sagas_compensation_failed", "Sagas half undone, that nobody has mended.")
        self._parked = gauges("bennu_sagas_parked", "Sagas that wait for an operator's decision.")
        self._outbox = gauges("bennu_outbox_commands", "Commands that their log has not confirmed.")
        self._lag = gauges("bennu_input_lag_records", "Records of event journals not yet reacted to.")
        text = "Sagas that go on by themselves, and take longer than their definition's service level."
        self._stuck = {
            name: [metrics.gauge("bennu_sagas_stuck", text, definition=name, partition=number) for number in numbers]
            for name in sorted({type(saga).__qualname__ for saga in definitions.app.sagas})
        }
        self._counters = {
            RUNNING: metrics.counter("bennu_sagas_started", "Sagas started."),
            COMPLETED: metrics.counter("bennu_sagas_ended", "Sagas ended.", how="completed"),
            COMPENSATED: metrics.counter("bennu_sagas_ended", "Sagas ended.", how="compensated"),
            COMPENSATION_FAILED: metrics.counter("bennu_sagas_ended", "Sagas ended.", how="compensation_failed"),
            RESOLVED: metrics.counter("bennu_sagas_ended", "Sagas ended.", how="resolved"),
        }
        self._noted = {
            kind: metrics.counter("bennu_saga_notes", "What an operator should hear of.", kind=kind) for kind in SAID
        }
        self._counted: dict[int, Counter[int]] = {}

    def leading(self, number: int, leads: bool, *, reason: str) -> None:
        super().leading(number, leads, reason=reason)
        if not leads:  # whoever leads says it, and sums over processes count nothing twice
            self._counted.pop(number, None)
            gauges = self._running, self._failed, self._parked, self._outbox, self._lag, *self._stuck.values()
            for each in gauges:
                each[number].set(0)

    def effective(self, number: int, fold: SagaFold, notes: Sequence[Note]) -> None:
        """A batch of this partition became effective.  What was counted before this leadership is not counted again."""
        before = self._counted.setdefault(number, Counter())
        for status, counter in self._counters.items():
            counter.inc(fold.counts[status] - before[status])
        self._counted[number] = fold.counts.copy()
        self._running[number].set(fold.running)
        self._failed[number].set(len(fold.failed))
        self._parked[number].set(len(fold.parked))
        self._outbox[number].set(len(fold.outbox))
        for note in notes:
            self._noted[note.kind].inc()
            say = logger.error if note.kind in (COMPENSATION_FAILURE, PARKED) else logger.warning
            say(SAID[note.kind], partition=number, saga=note.saga_id, reason=note.reason)

    def begin(self, number: int, fold: SagaFold) -> None:
        """What the journal already counts when this process begins to lead."""
        self._counted[number] = fold.counts.copy()

    async def look(self, number: int, fold: SagaFold, now_us: int) -> None:
        """Count what time alone brings about."""
        found = await stuck(fold, self._definitions, now_us)
        for name, gauges in self._stuck.items():
            gauges[number].set(found[name])

    def lag(self, number: int, records: int) -> None:
        """How far the partition is behind its inputs."""
        self._lag[number].set(records)
