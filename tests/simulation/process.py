"""A CServer process as the simulation has it: real members, routes and intake; its own clock and way to the log."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextvars import Context, ContextVar
from typing import Any

from bank.app import app
from bennu.errors import Final
from bennu.log.memory import MemoryBroker
from bennu.members.group import Group, Identity
from bennu.ops import topics
from bennu.ops.metrics import Metrics
from bennu.ops.readiness import Readiness
from bennu.replica.leader import Candidate, Replica
from bennu.replica.member import run_all
from bennu.replica.node import Node
from bennu.testing.clock import SimulatedClock
from bennu.testing.loop import OWNER, Owner, VirtualTimeLoop
from bennu.v1.command_pb2 import Origin
from bennu_cserver.intake import Intake, Refused
from bennu_cserver.member import Member
from bennu_cserver.observed import Observed
from bennu_cserver.routes import Routes, batch_no_of
from bennu_cserver.submission import ANYBODY, Caller, Prepared, Reply
from tests.simulation.logs import ProcessLog
from tests.simulation.peers import Neighbours, SimulatedPeers
from tests.simulation.said import Command, other_saga

ORIGIN = Origin(actor="simulation")
CLOCK: ContextVar[SimulatedClock] = ContextVar("CLOCK")

INTAKE = Intake(app, lambda: CLOCK.get().wall_us())
"""One for all processes, as making its validator takes longer than a short run; the time is the caller's own."""


class Process:
    """One life of a process: it ends by `kill`, or by an error that only a broken log may cause."""

    def __init__(
        self,
        name: str,
        broker: MemoryBroker,
        *,
        partitions: int,
        window_count: int,
        neighbours: Neighbours | None = None,
    ) -> None:
        neighbours, random = Neighbours() if neighbours is None else neighbours, broker.random
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        self._loop = loop
        self.name = name
        self.label = f"{name}/{len(neighbours)}"
        self.owner = Owner(self.label)
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
        for member in self.members:  # beside its own, that of an app whose sagas command this one
            member.numbered_sources |= {other_saga(member.number)}
        self.peers = SimulatedPeers(neighbours, random)
        self.routes = Routes(app, self.members, group=self.node.group, peers=self.peers)
        neighbours[self.label] = self
        self.failure: BaseException | None = None
        self.excused: type[Final] | None = None
        """What it may end with, as an operator did wrong."""
        self.slept_s = 0.0
        """How long it was paused, all in all."""
        self._began_s = loop.time()
        self.told = [0] * partitions
        """The newest batch of each partition that a caller was told of."""
        self._calls: set[asyncio.Task[None]] = set()
        self._beside: list[asyncio.Task[None]] = []
        self.stopping = asyncio.Event()
        self._main = loop.create_task(self._run(partitions), context=self._context)
        self._main.add_done_callback(self._ended, context=Context())

    async def _run(self, partitions: int) -> None:
        observed = Observed(Metrics(), Readiness(), partitions)
        await run_all(self.node, self.members, self.clock, observed=observed, stopping=self.stopping)

    def group_of(self, service: str) -> Group:
        """This process's view of the others of a service."""
        identity = Identity(service, self.name, self.label)
        return Group(self.log, topics.members(app.name), identity, clock=self.clock, chance=self._chance)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.failure = self.failure or task.exception()

    @property
    def dead(self) -> bool:
        """Whether what it does still reaches anybody."""
        return self.log.dead

    def problems(self) -> list[BaseException]:
        """What it ended with."""
        return list(_leaves(self.failure))

    @property
    def ended(self) -> bool:
        """Whether it has come to its end by itself."""
        return self._main.done()

    @property
    def age_s(self) -> float:
        """How long ago it was started."""
        return self._loop.time() - self._began_s

    @property
    def leads(self) -> bool:
        """Whether it believes that it leads all partitions."""
        return len(self.led) == len(self.members)

    @property
    def led(self) -> list[int]:
        """The partitions that it believes to lead."""
        if self.dead or self.failure is not None:
            return []
        return [member.number for member in self.members if member.partition]

    def effective(self, number: int) -> Replica | None:
        """What it holds of a partition, where that is only what was read as effective."""
        member = self.members[number]
        if member.partition is None:
            return member.followed and member.followed[0]
        replica = member.partition.replica
        idle = replica.open.empty and replica.newest_no == replica.position.batch_no
        return replica if idle else None

    def kill(self) -> None:
        """As kill -9: nothing that it does from here on reaches anybody."""
        self.log.dead = True
        self.resume()
        for task in (self._main, *self._calls):
            task.cancel()

    async def stop(self) -> None:
        """As SIGTERM: what is in line is answered, then it ends."""
        self._context.run(self.stopping.set)
        await asyncio.wait((self._main, *self._beside))
        self.log.dead = True

    async def gone_by_itself(self) -> None:
        """Wait until a process that was told to stop, or killed, has ended."""
        await asyncio.wait((self._main, *self._beside))

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
        self._start(work)

    def beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Run another service in this process, which ends with it."""
        self._beside.append(self._start(work))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work, context=self._context)
        self._calls.add(task)
        task.add_done_callback(self._answered, context=Context())
        return task

    def _answered(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._ended(call)

    async def execute(self, commands: list[Command]) -> list[Reply]:
        """As an edge does it: each is parsed or refused, the rest is decided together."""
        return (await self.answer(commands))[0]

    async def answer(self, commands: list[Command], caller: Caller = ANYBODY) -> tuple[list[Reply], int]:
        """The same, and the number of the batch that makes the replies true; 0 if there is none."""
        prepared = [_prepared(command) for command in commands]
        taken = [each for each in prepared if isinstance(each, Prepared)]
        if not taken:
            return [each for each in prepared if not isinstance(each, Prepared)], 0
        number = self.routes.partition_of(taken[0])
        size_bytes = sum(len(command.payload) for command in commands)
        replies, token = await self.routes.submit(number, taken, size_bytes, caller=caller)
        decided = iter(replies)
        return [next(decided) if isinstance(each, Prepared) else each for each in prepared], batch_no_of(token)


def _prepared(command: Command) -> Prepared | Reply:
    try:
        return INTAKE.command(command.type_name, command.payload, command.command_id, origin=ORIGIN)
    except Refused as refused:
        return refused.reply


def _leaves(error: BaseException | None) -> Iterator[BaseException]:
    """The errors in a group of groups."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    elif error is not None:
        yield error
