"""What operators see of the projections: metrics, and the condition `projections` of `/readyz`."""

from collections.abc import Mapping, Sequence

from bennu.ops.metrics import SECONDS, SIZES, Metrics
from bennu.ops.readiness import Readiness
from bennu_qserver.lag import Lag
from bennu_qserver.pending import Work
from bennu_qserver.positions import Place
from bennu_qserver.rows import Write

READY = "projections"

STARTING, FOLLOWING, STANDBY = "starting", "following", "standby"


class Gauges:
    """Metrics of one projection in one partition."""

    def __init__(self, metrics: Metrics, place: Place) -> None:
        labels = place.labels
        self._lag_batches = metrics.gauge(
            "bennu_qserver_lag_batches", "Journal records not yet projected, as last sampled.", **labels
        )
        self._lag_events = metrics.gauge("bennu_qserver_lag_events", "Events read but not yet written.", **labels)
        self._lag_seconds = metrics.gauge(
            "bennu_qserver_lag_seconds", "Age of the first batch that was read and is not projected.", **labels
        )
        self._offset = metrics.gauge("bennu_qserver_position_offset", "Offset below which all is projected.", **labels)
        self._events = metrics.counter("bennu_qserver_events_total", "Events projected.", **labels)
        self._rows = metrics.counter("bennu_qserver_rows_total", "Rows written.", **labels)
        self._mended = metrics.counter(
            "bennu_qserver_mended_texts_total",
            "Texts with a zero byte, shown with U+FFFD in its place; keys aside.",
            **labels,
        )
        self._transactions = metrics.counter("bennu_qserver_transactions_total", "Transactions committed.", **labels)
        self._sizes = metrics.histogram(
            "bennu_qserver_transaction_rows", "Rows a transaction.", buckets=SIZES, **labels
        )
        self._seconds = metrics.histogram(
            "bennu_qserver_transaction_seconds", "Time a transaction takes.", buckets=SECONDS, **labels
        )
        self.moved = metrics.counter("bennu_qserver_position_moved_total", "Meetings with another projector.", **labels)

    def committed(self, work: Work, writes: Sequence[Write], *, events: int, seconds: float) -> None:
        """A transaction is in."""
        rows = sum(write.rows for write in writes)
        self._offset.set(work.position.offset)
        self._events.inc(events)
        self._rows.inc(rows)
        self._mended.inc(sum(write.mended for write in writes))
        self._transactions.inc()
        self._sizes.observe(rows)
        self._seconds.observe(seconds)

    def sampled(self, lag: Lag) -> None:
        """How far it is behind."""
        self._lag_batches.set(lag.batches)
        self._lag_events.set(lag.events)
        self._lag_seconds.set(lag.ms / 1000)


class Board:
    """What each projection is doing, for `/readyz`."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness
        self._states: dict[Place, str] = {}
        self._waiting: tuple[str, ...] = ()

    def set(self, place: Place, state: str) -> None:
        """Ready when all follow, or stand by for one that does."""
        self._states[place] = state
        self._show()

    def remove(self, place: Place) -> None:
        """It is no longer this process's."""
        if self._states.pop(place, None):
            self._show()

    def wait(self, reasons: Sequence[str]) -> None:
        """These, and no others, are why projections wait that should not."""
        self._waiting = tuple(reasons)
        self._show()

    def _show(self) -> None:
        starting = sorted(str(other) for other, known in self._states.items() if known == STARTING)
        problems = [*self._waiting, *([f"starting: {', '.join(starting)}"] if starting else [])]
        if problems:
            self._readiness.unmet(READY, "; ".join(problems))
        else:
            self._readiness.met(READY)

    def projects(self, place: Place) -> bool:
        """Whether this process moves the position."""
        return self._states.get(place) == FOLLOWING

    def show(self, lags: Mapping[Place, Lag]) -> None:
        """How far each projection is behind."""
        self._readiness.show(READY, {str(place): lag._asdict() for place, lag in sorted(lags.items())})
