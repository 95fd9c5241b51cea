"""A leader that is asked to stop finishes what it has taken."""

import asyncio

from bank.app import app
from bank.v1.commands_pb2 import OpenAccount
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.ops.metrics import Metrics
from bennu.ops.readiness import Readiness
from bennu.replica.clock import SystemClock
from bennu.replica.member import run_all
from bennu.testing.loop import run
from bennu.v1.command_pb2 import Origin
from bennu_cserver.intake import Intake
from bennu_cserver.member import Member
from bennu_cserver.observed import Observed
from bennu_cserver.routes import Routes
from tests.lone import create_topics, lone, routes_of

ORIGIN = Origin(actor="test")


class GatedLog(MemoryLog):
    """Its appends wait for the gate."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker)
        self.gate = asyncio.Event()
        self.gate.set()

    async def append(self, topic: str, record: bytes, *, timeout_ms: int = 3000) -> int:
        await self.gate.wait()
        return await super().append(topic, record, timeout_ms=timeout_ms)


async def stopped_between_two_batches() -> None:
    """The first command is on its way to the log, the second one waits in the open batch."""
    log, readiness, stopping, clock = GatedLog(MemoryBroker()), Readiness(), asyncio.Event(), SystemClock()
    intake = Intake(app, clock.wall_us)
    node = lone(log)
    member = Member(app, (0, 1), node=node, intake=intake)
    await create_topics(log, [member])
    observed = Observed(Metrics(), readiness, 1)
    running = asyncio.create_task(run_all(node, [member], clock, observed=observed, stopping=stopping))
    await readiness.wait()
    log.gate.clear()
    asked = [asyncio.create_task(_open(routes_of(node, [member]), intake, name)) for name in ("a", "b")]
    await asyncio.sleep(0.1)
    stopping.set()
    await asyncio.sleep(0.1)
    log.gate.set()
    assert await asyncio.gather(*asked) == [0, 0]
    await running


async def _open(routes: Routes, intake: Intake, account: str) -> int:
    """The code that opening the account is answered with."""
    await asyncio.sleep(0.01 if account == "b" else 0)
    payload = OpenAccount(account=account, currency="EUR").SerializeToString()
    command = intake.command("bank.v1.OpenAccount", payload, account, origin=ORIGIN)
    replies, _ = await routes.submit(0, [command], len(payload))
    return replies[0][0]


def test_what_was_taken_is_answered_before_the_end() -> None:
    """Also what was decided while the last batch was on its way; virtual time."""
    run(stopped_between_two_batches())
