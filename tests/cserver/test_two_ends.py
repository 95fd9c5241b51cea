"""A partition is cut off because another one met a broken journal, and meets one itself: the service says it once."""

import asyncio
import gc
from typing import Any

from bank.app import app
from bennu.errors import Final
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.ops.metrics import Metrics
from bennu.ops.readiness import Readiness
from bennu.replica.clock import SystemClock
from bennu.replica.member import run_all
from bennu_cserver.command_loop import Partition
from bennu_cserver.intake import Intake
from bennu_cserver.member import Member
from bennu_cserver.observed import Observed
from tests.lone import create_topics, lone


class DoomedMember(Member):
    """What runs beside the leader fails while it is being cancelled."""

    async def beside(self, partition: Partition, observed: Observed) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise Final("this partition's reader met it too")


async def cut_off() -> list[dict[str, Any]]:
    """What the loop had to complain of afterwards."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    log, clock = MemoryLog(MemoryBroker()), SystemClock()
    intake = Intake(app, clock.wall_us)
    node = lone(log)
    member = DoomedMember(app, (0, 1), node=node, intake=intake)
    await create_topics(log, [member])
    readiness = Readiness()
    observed = Observed(Metrics(), readiness, 1)
    running = asyncio.create_task(run_all(node, [member], clock, observed=observed, stopping=asyncio.Event()))
    await readiness.wait()
    await asyncio.sleep(0)  # both halves have begun
    running.cancel()
    await asyncio.wait((running,))
    gc.collect()  # a task that is dropped with an exception nobody saw tells the loop
    return complaints


def test_a_failure_during_the_end_is_no_loose_end() -> None:
    """What fails while it is being ended is no loose end that shows after the last line of the log."""
    assert asyncio.run(cut_off()) == []
