"""How tests are shared between the two workers of `make test`, which run beside each other.

A file's tests stay together, for they share what their fixtures start.  So do the files that use the one RocketMQ of
the run, which takes longer to start than most tests take.  What takes long begins first, so that no worker is left
alone with it at the end.
"""

from collections.abc import MutableSequence

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

SAME_ROCKETMQ = (
    "tests/log/test_rocketmq.py",
    "tests/stack/test_rocketmq.py",
    "tests/interop/test_official_client.py",
)
LONG = (
    *SAME_ROCKETMQ,
    "tests/simulation/",
    "tests/e2e/",
    "tests/benchmarks/",
    "tests/drill/",
    "tests/cserver/test_cluster.py",
    "tests/cli/test_dev.py",
    "tests/qserver/",
    "tests/saga/test_crashes.py",
)
"""Where a minute is spent rather than a second, the longest first."""


class Sharing(LoadScopeScheduling):  # type: ignore[misc]  # xdist is published without types
    """Gives each worker the next file when it is nearly done with the one before."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "tests with RocketMQ" if file in SAME_ROCKETMQ else file

    def remove_node(self, node: WorkerController) -> str | None:
        """The test in which a worker crashed, or hung and was ended: it is not run again, by one after another."""
        crashed: str | None = super().remove_node(node)
        for tests in self.workqueue.values():
            if crashed in tests:
                tests[crashed] = True
        return crashed


def long_first(items: MutableSequence[pytest.Item]) -> None:
    """In the order in which workers take them."""
    items[:] = sorted(items, key=_rank)


def _rank(item: pytest.Item) -> int:
    return next((rank for rank, place in enumerate(LONG) if item.nodeid.startswith(place)), len(LONG))
