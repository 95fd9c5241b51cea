"""CServer and Saga of the bank in one loop, under virtual time, on a log in memory; the saga process can be killed.

What happened is read from the journals alone, by `JournalReader`.
"""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, MutableMapping, Sequence
from contextlib import aclosing, contextmanager
from contextvars import Context
from itertools import chain, count
from random import Random
from typing import TypeVar
from unittest import mock

import structlog
from google.protobuf.message import Message

from bank.app import app
from bank.v1.commands_pb2 import Deposit, OpenAccount, Transfer
from bennu.errors import AppendUnknown, Unavailable
from bennu.log.memory import NO_FAULTS, MemoryBroker
from bennu.log.port import Record
from bennu.members.group import Group, Identity
from bennu.ops import topics
from bennu.ops.metrics import Metrics
from bennu.ops.readiness import Readiness
from bennu.replica import leader
from bennu.replica.journal import JournalReader, Position, Verdict
from bennu.replica.leader import Candidate
from bennu.replica.member import run_all
from bennu.replica.node import Node
from bennu.replica.state import ReplicaState
from bennu.testing.clock import SimulatedClock
from bennu.testing.loop import OWNER, Owner, VirtualTimeLoop, run
from bennu.v1 import saga_pb2
from bennu.v1.command_pb2 import CommandBatch
from bennu.v1.journal_pb2 import EpochStart, EventBatch
from bennu_saga.admin import Admin
from bennu_saga.definitions import Definitions
from bennu_saga.fold import SagaFold
from bennu_saga.member import Member, look_at_all
from bennu_saga.observed import Observed
from tests.simulation.logs import ProcessLog
from tests.simulation.process import Process
from tests.simulation.said import command_of

T = TypeVar("T")

PARTITIONS = 2
START_MINOR = 1_000
ENDS = ("bank.v1.TransferCompleted", "bank.v1.TransferFailed")
DEFINITIONS = Definitions(app)


class CountingLog(ProcessLog):
    """Counts what its process does to the log, before and after each append lands and with each chunk read.

    It also sees to it that no command is sent before the batch that issued it is effective.
    """

    def __init__(self, broker: MemoryBroker, random: Random, step: Callable[[], None]) -> None:
        super().__init__(broker, random)
        self._step = step
        self.away = False
        """Whether the log answers no question; what is on its way to readers arrives."""
        self.mute = False
        """Whether no command reaches its log."""
        self.read_pause_s = 0.0
        """How long each chunk takes."""

    async def append(self, topic: str, record: bytes, *, timeout_ms: int = 3000) -> int:
        if "-commands-" in topic and self.mute:
            raise AppendUnknown(f"{topic}: no answer")
        if "-commands-" in topic:
            sent = CommandBatch.FromString(record)
            last_no = sent.first_no + len(sent.command_ids) - 1
            numbers = [each.no for each in issued(self._broker, sent.source) if each.destination == topic]
            assert last_no in numbers, f"{topic}: command {last_no} is sent too early"
        self._step()
        offset = await super().append(topic, record, timeout_ms=timeout_ms)
        self._step()
        return offset

    async def read(self, topic: str, offset: int) -> AsyncGenerator[Sequence[Record], None]:
        async with aclosing(super().read(topic, offset)) as chunks:
            async for chunk in chunks:
                await asyncio.sleep(self.read_pause_s)
                self._step()
                yield chunk

    async def bounds(self, topic: str) -> tuple[int, int]:
        if self.away:
            raise Unavailable(f"{topic}: no answer")
        return await super().bounds(topic)


def effective(broker: MemoryBroker, topic: str) -> Iterator[tuple[EpochStart | EventBatch, str]]:
    """What a journal says, and where."""
    reader = JournalReader(Position(topic))
    for offset, body in enumerate(broker.records(topic)):
        assert body is not None
        verdict, record = reader.classify(offset, body)
        if verdict in (Verdict.BATCH, Verdict.EPOCH):
            yield record, f"{topic}, offset {offset}"


def events(broker: MemoryBroker, topic: str) -> Iterator[Message]:
    """The events of a journal of the bank, or of its sagas."""
    for record, _ in effective(broker, topic):
        if isinstance(record, EventBatch):
            for index, raw in zip(record.event_type_indexes, record.events, strict=True):
                name = record.event_types[index]
                kind = app.events[name].message if name in app.events else getattr(saga_pb2, name.split(".")[-1])
                yield kind.FromString(raw)


def issued(broker: MemoryBroker, topic: str) -> list[saga_pb2.SagaCommandIssued]:
    """The commands of a saga journal."""
    return [event for event in events(broker, topic) if isinstance(event, saga_pb2.SagaCommandIssued)]


LIVES = count(1)


class SagaLife:
    """One life of a saga process: killed at its `kill_at`-th step if it comes to that."""

    def __init__(
        self, broker: MemoryBroker, chance: Random, *, kill_at: int = 0, definitions: Definitions = DEFINITIONS
    ) -> None:
        loop = asyncio.get_running_loop()
        self.steps = 0
        self.metrics, self.readiness = Metrics(), Readiness()
        self._definitions = definitions
        self.owner = Owner("saga")
        self.log = CountingLog(broker, chance, self._step)
        self._kill_at = kill_at
        self._stopping = asyncio.Event()
        self._clock = SimulatedClock(loop.time)
        self.name = name = f"saga-{next(LIVES)}"
        me = Identity("saga", name, f"{name}.test:1")
        self.group = group = Group(self.log, topics.members(app.name), me, clock=self._clock, chance=chance)
        self._node = Node(self.log, Candidate(name, window_count=0, window_age_ms=0), group)
        self.members = [Member(definitions, (n, PARTITIONS), node=self._node) for n in range(PARTITIONS)]
        self.admin = Admin(definitions, self.members, group)
        context = Context()
        context.run(OWNER.set, self.owner)
        self._main = loop.create_task(self._run(), context=context)

    async def _run(self) -> None:
        observed = Observed(self.metrics, self.readiness, PARTITIONS, definitions=self._definitions)
        await look_at_all(self.members, self._clock)
        await run_all(self._node, self.members, self._clock, observed=observed, stopping=self._stopping)

    def _step(self) -> None:
        self.steps += 1
        if self.steps == self._kill_at:
            self.kill()

    def kill(self) -> None:
        """As kill -9: what was sent lands; nothing else that it does reaches anybody."""
        self.log.dead = True
        self.resume()
        self._main.cancel()

    def pause(self) -> None:
        """As SIGSTOP."""
        self.owner.paused = True

    def resume(self) -> None:
        """As SIGCONT."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        loop.resume(self.owner)

    async def stop(self) -> None:
        """As SIGTERM.  Raises what it failed with."""
        self._stopping.set()
        await self._main

    async def gone(self) -> None:
        """Wait until it has ended, however it does."""
        await asyncio.wait((self._main,))

    @property
    def leads(self) -> bool:
        """Whether it leads all partitions."""
        return all(member.partition for member in self.members)

    def check(self) -> None:
        """Raises what it failed with, if it did."""
        if self._main.done() and not self._main.cancelled():
            self._main.result()


class World:
    """A broker with a CServer; sagas are started by the test."""

    def __init__(self, seed: int, said: Sequence[MutableMapping[str, object]]) -> None:
        self.said = said
        """All log lines, as they come."""
        self.chance = Random(seed)
        self.broker = MemoryBroker(self.chance, NO_FAULTS)
        for topic in topics.names(app.name, PARTITIONS):
            self.broker.create(topic)
        self._sagas: list[SagaLife] = []
        self.cserver = self.start_cserver()
        self.saga = self.start_saga()

    def start_cserver(self) -> Process:
        """Another life."""
        self.cserver = Process("cserver", self.broker, partitions=PARTITIONS, window_count=1_000_000)
        return self.cserver

    def start_saga(self, *, kill_at: int = 0, definitions: Definitions = DEFINITIONS) -> SagaLife:
        """Another life."""
        self.saga = SagaLife(self.broker, self.chance, kill_at=kill_at, definitions=definitions)
        self._sagas.append(self.saga)
        return self.saga

    async def ask(self, message: Message, command_id: str) -> None:
        """A client's command, repeated until it is carried out."""
        while True:
            if self.cserver.leads and (await self.cserver.execute([command_of(command_id, message)]))[0][0] == 0:
                return
            await asyncio.sleep(0.01)

    async def ask_together(self, *transfers: Transfer) -> None:
        """Have these transfers, of one partition, decided into one batch."""
        await self.until(lambda: self.cserver.leads)
        replies = await self.cserver.execute([command_of(each.transfer, each) for each in transfers])
        assert [code for code, _ in replies] == [0] * len(transfers)

    async def accounts(self, *names: str) -> None:
        """Open, with `START_MINOR` EUR each."""
        for name in names:
            await self.ask(OpenAccount(account=name, currency="EUR"), f"open-{name}")
            await self.ask(Deposit(account=name, amount_minor=START_MINOR, currency="EUR"), f"deposit-{name}")

    async def transfer(self, name: str, source: str, target: str, *, amount_minor: int = 10) -> None:
        """Ask for a transfer."""
        asked = Transfer(transfer=name, source=source, target=target, amount_minor=amount_minor, currency="EUR")
        await self.ask(asked, name)

    async def until(self, held: Callable[[], bool]) -> None:
        """Wait, in virtual time, until this holds; looks less often with time.  Raises what the saga fails with."""
        pause_s = 0.02
        while not held():
            self.saga.check()
            await asyncio.sleep(pause_s)
            pause_s = min(1.1 * pause_s, 5.0)

    def ended(self, *names: str) -> bool:
        """Whether each of these transfers has ended, and its saga with it."""
        happened = self.happened()
        if not all(any(happened[name, end] for end in ENDS) for name in names):
            return False
        return sum(self.saga_records()["SagaEnded"].values()) >= len(names)

    # --- what the journals say

    def happened(self) -> Counter[tuple[str, str]]:
        """How often each event happened for each transfer."""
        journals = [events(self.broker, f"bank-events-{number}") for number in range(PARTITIONS)]
        return Counter((getattr(e, "transfer", ""), e.DESCRIPTOR.full_name) for e in chain(*journals))

    def saga_records(self) -> dict[str, Counter[str]]:
        """How often each kind of record stands in the saga journals, by saga or topic."""
        found: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for number in range(PARTITIONS):
            for event in events(self.broker, f"bank-saga-{number}"):
                about = event.topic if isinstance(event, saga_pb2.SagaInputPart) else getattr(event, "saga_id", "")
                found[event.DESCRIPTOR.name][about] += 1
        return found

    def replayed(self, number: int) -> SagaFold:
        """The sagas that a replay of a journal gives.  Raises `Diverged` where its digests say otherwise."""
        fold = self.replica_state(number).fold
        assert isinstance(fold, SagaFold)
        return fold

    def replica_state(self, number: int) -> ReplicaState:
        """The same, with positions."""
        state = ReplicaState(SagaFold(), partition=number, partitions=PARTITIONS)
        for record, where in effective(self.broker, f"bank-saga-{number}"):
            if isinstance(record, EpochStart):
                state.begin_epoch(record, where)
            else:
                state.evolve(record, where)
        return state

    async def close(self) -> None:
        """All processes are gone."""
        self.cserver.kill()
        await self.cserver.gone()
        for saga in self._sagas:
            saga.kill()
            await saga.gone()


def simulated(seed: int, scenario: Callable[[World], Coroutine[None, None, T]], *, advance_s: float = 1_800) -> T:
    """Run a scenario under virtual time; the same seed gives the same run."""

    async def life() -> T:
        world = World(seed, said)
        try:
            return await scenario(world)
        finally:
            await world.close()

    print(f"seed {seed}")
    chance = random.Random(seed ^ 0x5EED)
    with seeded(chance), structlog.testing.capture_logs() as said:
        return run(life(), advance_s=advance_s)


@contextmanager
def seeded(chance: Random) -> Iterator[None]:
    """Terms and jitter, from the seed too; and a digest of the state in every batch."""
    with (
        mock.patch.object(leader, "DIGEST_EVERY_BATCHES", 1),
        mock.patch.object(leader, "system_chance", return_value=chance),
        mock.patch.object(random, "random", chance.random),
    ):
        yield
