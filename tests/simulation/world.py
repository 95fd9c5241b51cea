"""Broker and processes of one run, and what everybody in it shares."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextvars import Context
from random import Random
from zlib import crc32

from bank.app import app
from bennu.log.memory import Faults, MemoryBroker
from bennu.ops import topics
from tests.simulation.peers import Neighbours
from tests.simulation.process import Process
from tests.simulation.sagas import HASTY, PATIENT, Sagas
from tests.simulation.said import History, Key

ACCOUNTS = tuple(f"a{n}" for n in range(6))
SLOTS = 4
UNBOUNDED = 1_000_000
MEMBERS = topics.members(app.name)


class World:
    """One run's parts.  All chance is `random`, all time the loop's."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.partitions = self.random.choice((1, 1, 2, 3))
        self.window_count = self.random.choice((UNBOUNDED, UNBOUNDED, 6, 25))
        self.broker = MemoryBroker(self.random, Faults())
        self.history = History()
        self.definitions = self.random.choice((None, None, None, None, PATIENT, HASTY))
        self.sagas: dict[Process, Sagas] = {}
        self.size = self.random.choice((2, 3, 3, 3, SLOTS))
        """How many slots are filled at first; the others are for who joins."""
        self.slots: list[Process | None] = [None] * SLOTS
        self.lives: list[Process] = []
        self.twins: dict[Process, Process] = {}
        """Processes with the name of one that was there before."""
        self.neighbours = Neighbours()
        self.acknowledged: dict[str, set[Key]] = {account: set() for account in ACCOUNTS}
        self.newest = [0] * self.partitions
        """Of each partition, the newest batch that a client was told of."""
        self.away_until_s: dict[str, float] = {}
        """Topics that nobody reaches."""
        self.calm_s = 0.0
        """When the last misfortune so far is over."""
        self.loop = asyncio.get_running_loop()
        self.unheard: list[str] = []
        """Errors of tasks that nobody waited for."""
        self.loop.set_exception_handler(lambda _, context: self.unheard.append(repr(context.get("exception"))))
        self._tasks: set[asyncio.Task[None]] = set()
        self.shuns = self.random.random() < 0.5
        """Commands are not sent to a process that is paused: nothing of its own tells it that it was deposed."""
        self.slow_clocks = False
        """A clock was set back so far that new ids seem to come from the future."""
        for topic in self.topics():
            self.broker.create(topic)

    def topics(self) -> Iterator[str]:
        """All there are."""
        yield MEMBERS
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

    def partition_of(self, key: str) -> int:
        """Where a key belongs."""
        return crc32(key.encode()) % self.partitions

    def note(self, what: str) -> None:
        """A line of the trace: equal for equal seeds."""
        self.history.trace.append(f"{self.loop.time():.6f} {what}")

    def until(self, time_s: float) -> None:
        """Some misfortune lasts until then."""
        self.calm_s = max(self.calm_s, time_s)

    # --- processes

    def start(self, slot: int) -> Process:
        """A new life in this slot; the one before it must be dead."""
        name = f"node-{slot}"
        for twin in self.twins:
            if twin.name == name:
                twin.kill()
        process = self.slots[slot] = self.start_named(name)
        return process

    def start_named(self, name: str) -> Process:
        """A new life, whoever else has this name."""
        process = Process(
            name,
            self.broker,
            partitions=self.partitions,
            window_count=self.window_count,
            neighbours=self.neighbours,
        )
        process.log.away_until_s = self.away_until_s
        self.lives.append(process)
        if self.definitions:
            self.sagas[process] = Sagas(process, self.definitions, self.partitions)
        self.note(f"{process.label} starts")
        return process

    def kill(self, slot: int) -> None:
        """End the life in this slot, if there is one."""
        process = self.slots[slot]
        if process is not None and not process.dead:
            self.note(f"{process.label} dies")
            process.kill()

    def live(self) -> list[Process]:
        """All that run, or are paused."""
        return [process for process in self.slots if process is not None and not process.dead]

    def leaders(self) -> list[Process]:
        """All who believe that they lead something, zombies among them."""
        return [process for process in self.live() if process.led]

    def leader(self, number: int) -> Process | None:
        """One that believes to lead this partition."""
        return next((process for process in self.live() if number in process.led), None)

    def somebody(self) -> Process | None:
        """Whom a client asks: any, for each sends on what it does not lead."""
        known = [process for process in self.slots if not (self.shuns and process and process.owner.paused)]
        return self.random.choice(known) if known else None

    def zombie(self) -> Process | None:
        """One that believes it leads and does not know yet that time passes."""
        paused = [process for process in self.leaders() if process.owner.paused]
        return self.random.choice(paused) if paused else None

    def background(self, work: Coroutine[None, None, None]) -> None:
        """Run something nobody waits for before the end."""
        task = self.loop.create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
