"""A leader without commands whose log goes away: it notices by looking, and so do its operators."""

import asyncio

from bank.app import app
from bennu.errors import Unavailable
from bennu.limits import LOG_LOOK_MS
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.ops.metrics import Metrics
from bennu.ops.readiness import Readiness
from bennu.replica.clock import SystemClock
from bennu.replica.member import run_all
from bennu.testing.loop import run
from bennu_cserver.intake import Intake
from bennu_cserver.member import Member
from bennu_cserver.observed import Observed
from tests.lone import create_topics, lone


class SilentLog(MemoryLog):
    """One that can be asked for its bounds only while it is not `silent`."""

    silent = False

    async def bounds(self, topic: str) -> tuple[int, int]:
        if self.silent:
            raise Unavailable(f"{topic}: nobody answers")
        return await super().bounds(topic)


async def goes_and_comes_back() -> None:
    """The scenario."""
    log, readiness, stopping = SilentLog(MemoryBroker()), Readiness(), asyncio.Event()
    clock = SystemClock()
    node = lone(log)
    member = Member(app, (0, 1), node=node, intake=Intake(app, clock.wall_us))
    await create_topics(log, [member])
    observed = Observed(Metrics(), readiness, 1)
    running = asyncio.create_task(run_all(node, [member], clock, observed=observed, stopping=stopping))
    await readiness.wait()
    log.silent = True
    await asyncio.sleep(2 * LOG_LOOK_MS / 1000)
    assert "nobody answers" in str(readiness.report())
    log.silent = False
    await asyncio.sleep(2 * LOG_LOOK_MS / 1000)
    assert readiness.report()["ready"]
    stopping.set()
    await running


def test_an_idle_leader_sees_its_log_go_and_come_back() -> None:
    """Not ready while the log does not answer, ready again when it does; virtual time."""
    run(goes_and_comes_back())
