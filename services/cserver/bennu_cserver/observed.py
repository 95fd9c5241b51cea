"""What can be seen of a CServer from outside: its metrics, pre-bound, and which partitions it leads."""

from bennu.ops.metrics import Metrics
from bennu.ops.partitions import PartitionsObserved
from bennu.ops.readiness import Readiness
from bennu_cserver.path import Paths


class Observed(PartitionsObserved):
    """Counters are touched once a call, a frame or a record; never once a command of a frame."""

    def __init__(self, metrics: Metrics, readiness: Readiness, partitions: int) -> None:
        super().__init__(metrics, readiness, partitions)
        self.unary = metrics.counter("bennu_commands", "Commands answered.", way="unary")
        self.streamed = metrics.counter("bennu_commands", "Commands answered.", way="stream")
        self.refused = metrics.counter("bennu_refused_commands", "Commands refused before deciding.")
        self.queries = metrics.counter("bennu_queries", "Queries answered.")
        self.garbage_records = metrics.counter("bennu_garbage_records", "Records of command logs passed over.")
        self.unary_seconds = metrics.histogram("bennu_reply_seconds", "From arrival to answer.", way="unary")
        self.paths = Paths(metrics)
        self.frame_seconds = metrics.histogram("bennu_reply_seconds", "From arrival to answer.", way="stream")
