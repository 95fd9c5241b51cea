"""What can be seen of a CServer from outside: its metrics, pre-bound, and which partitions it leads."""

from bennu.ops.metrics import Metrics
from bennu.ops.readiness import Readiness


class Observed:
    """Counters are touched once a call, a frame or a record; never once a command of a frame."""

    def __init__(self, metrics: Metrics, readiness: Readiness, partitions: int) -> None:
        self._readiness = readiness
        self._leads = [
            metrics.gauge("bennu_leads", "1 where this process leads the partition.", partition=str(number))
            for number in range(partitions)
        ]
        readiness.declare(*(f"partition-{number}" for number in range(partitions)))
        self.unary = metrics.counter("bennu_commands", "Commands answered.", way="unary")
        self.streamed = metrics.counter("bennu_commands", "Commands answered.", way="stream")
        self.refused = metrics.counter("bennu_refused_commands", "Commands refused before deciding.")
        self.queries = metrics.counter("bennu_queries", "Queries answered.")
        self.garbage_records = metrics.counter("bennu_garbage_records", "Records of command logs passed over.")
        self.unary_seconds = metrics.histogram("bennu_reply_seconds", "From arrival to answer.", way="unary")
        self.frame_seconds = metrics.histogram("bennu_reply_seconds", "From arrival to answer.", way="stream")

    def leading(self, number: int, leads: bool, *, reason: str) -> None:
        """This process leads the partition, or why it does not."""
        self._leads[number].set(leads)
        if leads:
            self._readiness.met(f"partition-{number}")
        else:
            self._readiness.unmet(f"partition-{number}", reason)

    def following(self, number: int, leader: str) -> None:
        """This process follows the partition, and who leads; empty if nobody is known to."""
        if leader:
            self._readiness.met(f"partition-{number}")
        else:
            self._readiness.unmet(f"partition-{number}", "nobody is known to lead")

    def log_away(self, number: int, reason: str) -> None:
        """The log does not answer a partition that this process leads."""
        self._readiness.unmet(f"partition-{number}", f"the log is away: {reason}")

    def log_answers(self, number: int) -> None:
        """It does."""
        self._readiness.met(f"partition-{number}")
