"""Processes of a service over a log in memory, in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from random import Random

from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.members import records
from bennu.members.group import Group, Identity
from bennu.members.limits import HEARTBEAT_MS, SILENCE_MS
from bennu.members.placement import ranked
from bennu.testing.clock import SimulatedClock
from bennu.testing.loop import OWNER, Owner, VirtualTimeLoop, run
from bennu.v1.members_pb2 import HandoverAsked, Heartbeat, Seat
from tests.members.beats import SERVICE, seat

TOPIC = "bank-members"
NODES = ranked(0, frozenset(("a", "b", "c")))
FIRST, SECOND, THIRD = NODES
SILENCE_S, BEAT_S = SILENCE_MS / 1000, HEARTBEAT_MS / 1000
TERM = 7
AT_MOST_S = 120.0
"""Heartbeats go on for ever, so a wait that is in vain has to be ended."""


class Holder:
    """A partition's part that only remembers what it was told."""

    def __init__(self, mine: Seat) -> None:
        self.number = 0
        self.mine = mine
        self.turns: list[int] = []
        self.heirs: list[tuple[str, bool]] = []
        self.leader = ""
        self.changed = asyncio.Event()

    def seat(self) -> Seat:
        return self.mine

    def your_turn(self, epoch: int) -> None:
        self.turns.append(epoch)
        self.changed.set()

    def hand_over(self, successor: str, *, pinned: bool) -> None:
        self.heirs.append((successor, pinned))
        self.changed.set()

    def led_by(self, node: str) -> None:
        self.leader = node


class Node:
    """A process, as far as its group is concerned."""

    def __init__(self, broker: MemoryBroker, name: str, mine: Seat, *, service: str = SERVICE) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        self._loop = loop
        self.name = name
        self.owner = Owner(name)
        self.holder = Holder(mine)
        clock, chance = SimulatedClock(loop.time), Random(f"{name}{loop.time()}")
        self.group = Group(MemoryLog(broker), TOPIC, Identity(service, name, name), clock=clock, chance=chance)
        self.group.join(self.holder)
        OWNER.set(self.owner)
        self.run = loop.create_task(self.group.run())
        OWNER.set(None)

    def pause(self) -> None:
        self.owner.paused = True

    def resume(self) -> None:
        self._loop.resume(self.owner)


class Cluster:
    """The broker, and the processes that were started on it."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.broker.create(TOPIC)
        self.nodes: list[Node] = []

    def start(self, name: str, mine: Seat, *, service: str = SERVICE) -> Node:
        node = Node(self.broker, name, mine, service=service)
        self.nodes.append(node)
        return node

    def led_by_last(self) -> tuple[Node, ...]:
        """THIRD leads, the others follow."""
        return tuple(self.start(name, seat(4, TERM, leads=name == THIRD)) for name in NODES)

    def say(self, record: Heartbeat | HandoverAsked) -> None:
        self.broker.topic(TOPIC).land(records.encode(record))


@asynccontextmanager
async def cluster() -> AsyncIterator[Cluster]:
    made = Cluster()
    try:
        yield made
    finally:
        for node in made.nodes:
            node.resume()
            node.run.cancel()
        await asyncio.wait([node.run for node in made.nodes])


def virtually(work: Coroutine[None, None, None]) -> None:
    run(work, advance_s=AT_MOST_S)
