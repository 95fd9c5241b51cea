"""Broker, processes and network of one run, and what everybody in it shares."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextvars import Context
from random import Random
from typing import TypeVar
from zlib import crc32

from bank.app import app
from bank.v1.queries_pb2 import GetStatement
from bennu.log.memory import Faults, MemoryBroker
from bennu.ops import topics
from bennu_cserver.routes import Wanted
from bennu_cserver.submission import Reply
from tests.simulation.process import Process
from tests.simulation.sagas import HASTY, PATIENT, Sagas
from tests.simulation.said import Command, History, Key, Read, Told, reason_of

T = TypeVar("T")

ACCOUNTS = tuple(f"a{n}" for n in range(6))
SLOTS = 3
PATIENCE_S = 3.0
"""How long a client waits for an answer."""

UNBOUNDED = 1_000_000


class World:
    """One run's parts.  All chance is `random`, all time the loop's."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.partitions = self.random.choice((1, 1, 2))
        self.window_count = self.random.choice((UNBOUNDED, UNBOUNDED, 6, 25))
        self.broker = MemoryBroker(self.random, Faults())
        self.history = History()
        self.definitions = self.random.choice((None, None, None, None, PATIENT, HASTY))
        self.sagas: dict[Process, Sagas] = {}
        self.slots: list[Process | None] = [None] * SLOTS
        self.lives: list[Process] = []
        self.neighbours: dict[str, Process] = {}
        self.acknowledged: dict[str, set[Key]] = {account: set() for account in ACCOUNTS}
        self.loop = asyncio.get_running_loop()
        self.unheard: list[str] = []
        """Errors of tasks that nobody waited for."""
        self.loop.set_exception_handler(lambda _, context: self.unheard.append(repr(context.get("exception"))))
        self._tasks: set[asyncio.Task[None]] = set()
        self.shuns = self.random.random() < 0.5
        """Commands are not sent to a process that is paused: nothing of its own tells it that it was deposed."""
        self.slow_clocks = False
        """A clock was set back so far that new ids seem to come from the future."""
        self.lost = 0.03
        """How often a request or a reply is lost on its way."""
        for topic in self.topics():
            self.broker.create(topic)

    def topics(self) -> Iterator[str]:
        """All there are."""
        yield topics.members(app.name)
        for number in range(self.partitions):
            yield self.events_topic(number)
            yield self.commands_topic(number)
            if self.definitions:
                yield self.saga_topic(number)

    def events_topic(self, number: int) -> str:
        return f"{app.name}-events-{number}"

    def commands_topic(self, number: int) -> str:
        return f"{app.name}-commands-{number}"

    def saga_topic(self, number: int) -> str:
        """Where there are sagas."""
        return f"{app.name}-saga-{number}"

    def journal(self, number: int) -> list[bytes]:
        """All records of a journal; none was lost or spoilt."""
        return [body for body in self.broker.records(self.events_topic(number)) if body is not None]

    def note(self, what: str) -> None:
        """A line of the trace: equal for equal seeds."""
        self.history.trace.append(f"{self.loop.time():.6f} {what}")

    # --- processes

    def start(self, slot: int) -> Process:
        """A new life in this slot; the one before it must be dead."""
        name = f"node-{slot}-{len(self.lives)}"
        process = Process(
            name,
            self.broker,
            self.random,
            partitions=self.partitions,
            window_count=self.window_count,
            neighbours=self.neighbours,
        )
        self.neighbours[name] = process
        self.slots[slot] = process
        self.lives.append(process)
        if self.definitions:
            self.sagas[process] = Sagas(process, self.definitions, self.partitions)
        self.note(f"{name} starts")
        return process

    def kill(self, slot: int) -> None:
        """End the life in this slot, if there is one."""
        process = self.slots[slot]
        if process is not None and not process.dead:
            self.note(f"{process.name} dies")
            process.kill()

    def leaders(self) -> list[Process]:
        """All who believe that they lead, zombies among them."""
        return [process for process in self.slots if process is not None and process.leads]

    def somebody(self) -> Process | None:
        """Whom a client asks: mostly one that believes it leads."""
        leaders = [process for process in self.leaders() if not (self.shuns and process.owner.paused)]
        if leaders and self.random.random() < 0.9:
            return self.random.choice(leaders)
        return self.random.choice(self.slots)

    def zombie(self) -> Process | None:
        """One that believes it leads and does not know yet that time passes."""
        paused = [process for process in self.leaders() if process.owner.paused]
        return self.random.choice(paused) if paused else None

    def background(self, work: Coroutine[None, None, None]) -> None:
        """Run something nobody waits for before the end."""
        task = self.loop.create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- the network

    async def ask(self, process: Process, commands: list[Command]) -> list[Reply] | None:
        """Have a process execute commands of one partition; None if no answer came in time."""
        for command in commands:
            self.history.attempt(command)
        answer: asyncio.Future[list[Reply]] = self.loop.create_future()

        async def handle() -> None:
            replies = await process.execute(commands)
            if not process.dead:
                for command, reply in zip(commands, replies, strict=True):
                    self._tell(command, reply)
                self._send_back(answer, replies)

        replies = await self._call(process, handle, answer)
        for command, (code, _) in zip(commands, replies or (), strict=False):
            if code == 0:
                account = str(getattr(command.message, "account", ""))
                self.acknowledged.setdefault(account, set()).add(command.key)
        return replies

    async def read(self, process: Process, account: str, *, linearizable: bool) -> None:
        """Ask for an account's statement and remember what was answered."""
        known = frozenset(self.acknowledged[account])
        answer: asyncio.Future[Reply] = self.loop.create_future()
        query = GetStatement(account=account)
        rule = app.queries["bank.v1.GetStatement"]

        async def handle() -> None:
            reply, token = await process.routes.ask(rule, query, Wanted(linearizable))
            if process.dead or not token:
                return
            number = self.partition_of(account)
            end = len(self.journal(number))
            self.note(f"{process.name} answers a query for {account}: {reply[0]}")
            view = reply[1] if reply[0] == 0 else b""
            self.history.reads.append(Read(account, linearizable, view, end, number, known))
            self._send_back(answer, reply)

        await self._call(process, handle, answer)

    def partition_of(self, key: str) -> int:
        """Where a key belongs."""
        return crc32(key.encode()) % self.partitions

    def _tell(self, command: Command, reply: Reply) -> None:
        code, body = reply
        key = app.commands[command.type_name].key(command.message)
        number = self.partition_of(key)
        told = Told(command, code, body, reason_of(code, body), number, len(self.journal(number)))
        self.history.told.append(told)
        self.note(f"{command.command_id} {command.type_name}: {code} {told.reason}")

    async def _call(
        self, process: Process, handle: Callable[[], Coroutine[None, None, None]], answer: "asyncio.Future[T]"
    ) -> T | None:
        if not self._lost():
            await asyncio.sleep(self.random.random() * 0.01)
            if process.dead:
                return None
            process.call(handle())
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await answer
        except TimeoutError:
            return None

    def _send_back(self, answer: "asyncio.Future[T]", reply: T) -> None:
        def arrive() -> None:
            if not answer.done():
                answer.set_result(reply)

        if not self._lost():
            self.loop.call_later(self.random.random() * 0.01, arrive, context=Context())

    def _lost(self) -> bool:
        return self.random.random() < self.lost
