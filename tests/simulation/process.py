"""A CServer process as the simulation has it: real members, routes and intake; its own clock and way to the log."""

import asyncio
from collections.abc import Coroutine
from contextvars import Context, ContextVar
from random import Random
from typing import Any

from bank.app import app
from bennu.log.memory import MemoryBroker
from bennu.members.group import Group, Identity
from bennu.ops import topics
from bennu.ops.metrics import Metrics
from bennu.ops.readiness import Readiness
from bennu.replica.leader import Candidate
from bennu.replica.member import run_all
from bennu.replica.node import Node
from bennu.testing.clock import SimulatedClock
from bennu.testing.loop import OWNER, Owner, VirtualTimeLoop
from bennu.v1.command_pb2 import Origin
from bennu_cserver.intake import Intake, Refused
from bennu_cserver.member import Member
from bennu_cserver.observed import Observed
from bennu_cserver.routes import Routes
from bennu_cserver.submission import Prepared, Reply
from tests.simulation.logs import ProcessLog
from tests.simulation.peers import SimulatedPeers
from tests.simulation.said import Command

ORIGIN = Origin(actor="simulation")
CLOCK: ContextVar[SimulatedClock] = ContextVar("CLOCK")

INTAKE = Intake(app, lambda: CLOCK.get().wall_us())
"""One for all processes, as making its validator takes longer than a short run; the time is the caller's own."""


class Process:
    """One life of a process: it ends by `kill`, or by an error that only a broken log may cause."""

    def __init__(  # noqa: PLR0913 - a world's parts
        self,
        name: str,
        broker: MemoryBroker,
        random: Random,
        *,
        partitions: int,
        window_count: int,
        neighbours: "dict[str, Process] | None" = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        self._loop = loop
        self.name = name
        self.owner = Owner(name)
        self.clock = SimulatedClock(
            loop.time, drift=random.uniform(-1e-4, 1e-4), wall_offset_us=random.randrange(-3_000_000, 3_000_000)
        )
        self.log = ProcessLog(broker, random)
        self._context = Context()
        self._context.run(OWNER.set, self.owner)
        self._context.run(CLOCK.set, self.clock)
        self._chance = random
        candidate = Candidate(node=name, window_count=window_count, window_age_ms=7 * 24 * 3600 * 1000)
        self.node = Node(self.log, candidate, self.group_of("cserver"))
        self.members = [Member(app, (n, partitions), node=self.node, intake=INTAKE) for n in range(partitions)]
        self.peers = SimulatedPeers({} if neighbours is None else neighbours, random)
        self.routes = Routes(app, self.members, self.node.group, self.peers)
        self.failure: BaseException | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._main = loop.create_task(self._run(partitions), context=self._context)
        self._main.add_done_callback(self._ended, context=Context())

    async def _run(self, partitions: int) -> None:
        observed = Observed(Metrics(), Readiness(), partitions)
        await run_all(self.node, self.members, self.clock, observed=observed, stopping=self._stopping)

    def group_of(self, service: str) -> Group:
        """This process's view of the others of a service."""
        identity = Identity(service, self.name, self.name)
        return Group(self.log, topics.members(app.name), identity, clock=self.clock, chance=self._chance)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.failure = self.failure or task.exception()

    @property
    def dead(self) -> bool:
        """Whether what it does still reaches anybody."""
        return self.log.dead

    @property
    def leads(self) -> bool:
        """Whether it believes that it leads all partitions."""
        return not self.dead and self.failure is None and all(member.partition for member in self.members)

    def kill(self) -> None:
        """As kill -9: nothing that it does from here on reaches anybody."""
        self.log.dead = True
        self.resume()
        for task in (self._main, *self._calls):
            task.cancel()

    async def stop(self) -> None:
        """As SIGTERM: what is in line is answered, then it ends."""
        self._context.run(self._stopping.set)
        await asyncio.wait((self._main,))

    async def gone(self) -> None:
        """Wait until a killed process has let go of everything."""
        await asyncio.wait((self._main, *self._calls))

    def pause(self) -> None:
        """As SIGSTOP: appends that are on their way land all the same."""
        self.owner.paused = True

    def resume(self) -> None:
        """As SIGCONT: it goes on where it was, knowing nothing of the time that passed."""
        self._loop.resume(self.owner)

    def call(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a request's handling in this process."""
        task = self._loop.create_task(work, context=self._context)
        self._calls.add(task)
        task.add_done_callback(self._answered, context=Context())

    def _answered(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._ended(call)

    async def execute(self, commands: list[Command]) -> list[Reply]:
        """As an edge does it: each is parsed or refused, the rest is decided together."""
        prepared = [_prepared(command) for command in commands]
        taken = [each for each in prepared if isinstance(each, Prepared)]
        if not taken:
            return [each for each in prepared if not isinstance(each, Prepared)]
        number = self.routes.partition_of(taken[0])
        replies, _ = await self.routes.submit(number, taken, sum(len(command.payload) for command in commands))
        decided = iter(replies)
        return [next(decided) if isinstance(each, Prepared) else each for each in prepared]


def _prepared(command: Command) -> Prepared | Reply:
    try:
        return INTAKE.command(command.type_name, command.payload, command.command_id, origin=ORIGIN)
    except Refused as refused:
        return refused.reply
