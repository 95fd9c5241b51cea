"""What can be seen of a process's part in its partitions: for each a metric, and a condition of readiness."""

from bennu.ops.metrics import Metrics
from bennu.ops.readiness import Readiness


class PartitionsObserved:
    """Ready while each partition is led here, or followed and led by somebody."""

    def __init__(self, metrics: Metrics, readiness: Readiness, partitions: int) -> None:
        self._readiness = readiness
        self._leads = [
            metrics.gauge("bennu_leads", "1 where this process leads the partition.", partition=str(number))
            for number in range(partitions)
        ]
        readiness.declare(*map(_condition, range(partitions)))

    def leading(self, number: int, leads: bool, *, reason: str) -> None:
        """This process leads the partition, or why it does not."""
        self._leads[number].set(leads)
        if leads:
            self._readiness.met(_condition(number))
        else:
            self._readiness.unmet(_condition(number), reason)

    def following(self, number: int, leader: str) -> None:
        """This process follows the partition, and who leads; empty if nobody is known to."""
        if leader:
            self._readiness.met(_condition(number))
        else:
            self._readiness.unmet(_condition(number), "nobody is known to lead")

    def log_away(self, number: int, reason: str) -> None:
        """The log does not answer a partition that this process leads."""
        self._readiness.unmet(_condition(number), f"the log is away: {reason}")

    def log_answers(self, number: int) -> None:
        """It does."""
        self._readiness.met(_condition(number))


def _condition(number: int) -> str:
    return f"partition-{number}"
