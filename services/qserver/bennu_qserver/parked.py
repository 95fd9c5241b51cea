"""What a loop knows of the dead letters of its partition, and how it is shown to operators."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import structlog

from bennu.ops.metrics import Metrics
from bennu_qserver.errors import ProjectionFailed
from bennu_qserver.events import AggregateKey
from bennu_qserver.limits import PARKED_KEYS, PROBLEM_CHARS
from bennu_qserver.positions import Place
from bennu_qserver.trial import Letter
from bennu_qserver.values import mended_text

logger = structlog.get_logger()


@dataclass
class Parked:
    """Keys whose events are parked.  Compared by identity: another one means that other keys are parked.

    It may name a key that another process has let go of meanwhile, never lack one: whoever parks moves the position,
    and whoever lets go does not.  So it decides what is put aside, and the table decides what is parked.
    """

    last_seqs: dict[AggregateKey, int] = field(default_factory=dict)
    """The last event of each: while that one is parked, so is the key."""
    events: int = 0

    def put(self, letters: Iterable[Letter]) -> None:
        """These are parked, too.  Raises `ProjectionFailed` when that is too much to be the events' own fault."""
        for letter in letters:
            self.last_seqs[letter.key] = letter.event.meta.seq
            self.events += 1
        if len(self.last_seqs) > PARKED_KEYS:
            raise ProjectionFailed(
                f"events of more than {PARKED_KEYS} aggregates would be parked, so the rules, not the events, are at "
                "fault: mend them; nothing of this transaction is written"
            )


class ParkedGauges:
    """Metrics of what is parked, and log lines."""

    def __init__(self, metrics: Metrics, place: Place) -> None:
        labels = place.labels
        self._place = place
        self._events = metrics.gauge("bennu_qserver_parked_events", "Events that wait in bennu.dead_letters.", **labels)
        self._keys = metrics.gauge("bennu_qserver_parked_keys", "Aggregates whose events wait there.", **labels)
        self._total = metrics.counter("bennu_qserver_parked_total", "Events that were parked.", **labels)

    def show(self, parked: Parked) -> None:
        """So much is parked now."""
        self._events.set(parked.events)
        self._keys.set(len(parked.last_seqs))

    def added(self, letters: Sequence[Letter]) -> None:
        """These were parked.  One line a transaction at most: it tells of the first that is at fault."""
        self._total.inc(len(letters))
        at_fault = [letter for letter in letters if letter.problem is not None]
        if at_fault:
            first = min(at_fault, key=lambda letter: letter.event.meta.seq)
            logger.warning(
                "events are parked; the rest goes on",
                place=str(self._place),
                at_fault=len(at_fault),
                behind_them=len(letters) - len(at_fault),
                seq=first.event.meta.seq,
                key=str(first.key),
                problem=shown_problem(first.problem),
            )


def shown_problem(problem: str | None) -> str | None:
    """As Postgres can hold it: exceptions may say anything."""
    if problem is None:
        return None
    return mended_text(problem[:PROBLEM_CHARS].encode(errors="backslashreplace").decode())
