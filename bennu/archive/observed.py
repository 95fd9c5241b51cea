"""What the archiver shows of its work."""

import structlog

from bennu.errors import Final
from bennu.ops.metrics import Metrics
from bennu.ops.readiness import Readiness

LOG, DISK = "log", "disk"

logger = structlog.get_logger()


class Observed:
    """Metrics of each topic, and the conditions of readiness."""

    def __init__(self, metrics: Metrics, readiness: Readiness, topics: list[str]) -> None:
        self._readiness = readiness
        readiness.declare(LOG, DISK, *map(_condition, topics))
        self._records = {
            topic: metrics.counter("bennu_archive_records_total", "Records archived.", topic=topic) for topic in topics
        }
        self._lag = {
            topic: metrics.gauge("bennu_archive_lag_records", "Records not yet archived.", topic=topic)
            for topic in topics
        }
        self._headroom = {
            topic: metrics.gauge(
                "bennu_archive_headroom_records",
                "Archived records that the log still keeps: below 0, some are lost to the archive.",
                topic=topic,
            )
            for topic in topics
        }
        self._alarm = {
            topic: metrics.gauge("bennu_archive_alarm", "1: this topic is archived no further.", topic=topic)
            for topic in topics
        }

    def copied(self, topic: str, count: int) -> None:
        """So many records are durable."""
        self._records[topic].inc(count)
        self._readiness.met(DISK)

    def seen(self, topic: str, bounds: tuple[int, int], archived_to: int) -> None:
        """Where the log begins and ends now."""
        first, end = bounds
        self._lag[topic].set(max(0, end - archived_to))
        self._headroom[topic].set(archived_to - first)
        self._readiness.met(LOG)

    def copying(self, topic: str) -> None:
        """The archive and the log go together."""
        self._readiness.met(DISK)
        self._readiness.met(_condition(topic))

    def waiting(self, topic: str, problem: object) -> None:
        """The topic is not there yet."""
        self._readiness.unmet(_condition(topic), str(problem))

    def away(self, what: str, problem: object) -> None:
        """The log, or the disk."""
        self._readiness.unmet(what, str(problem))

    def ended(self, topic: str, problem: Final) -> None:
        """The alarm: somebody must act."""
        self._alarm[topic].set(1)
        self._readiness.unmet(_condition(topic), str(problem))
        logger.error("archiving of a topic has ended", topic=topic, error=type(problem).__name__, reason=str(problem))


def _condition(topic: str) -> str:
    return f"archive {topic}"
