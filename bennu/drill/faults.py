"""What is done to the node that leads most: each fault strikes, may last a while, and heals."""

import random
import signal
from abc import ABC, abstractmethod
from enum import StrEnum

from bennu.drill.limits import DETECTION_S, LASTS
from bennu.drill.nodes import Nodes


class FaultKind(StrEnum):
    """What the drill rehearses."""

    KILL = "kill"
    """kill -9; started again once another one leads."""
    STOP = "stop"
    """SIGSTOP, for once, twice, five times as long as detection takes; then SIGCONT."""
    CUT = "cut"
    """Its way to the log is cut for as long, silently or with resets."""
    HANDOVER = "handover"
    """One of its partitions is to be led by another node, in order."""


class Fault(ABC):
    """One fault of one node.  `lasts_s` is None when it heals once others lead."""

    def __init__(self, nodes: Nodes, victim: str, lasts_s: float | None, *, text: str) -> None:
        self.nodes = nodes
        self.victim = victim
        self.lasts_s = lasts_s
        self.text = text

    @abstractmethod
    async def strike(self) -> None:
        """From here on the clock runs."""

    @abstractmethod
    async def heal(self) -> None:
        """The node is as it was."""


class Kill(Fault):
    async def strike(self) -> None:
        await self.nodes.kill(self.victim)

    async def heal(self) -> None:
        await self.nodes.restart(self.victim)


class Stop(Fault):
    async def strike(self) -> None:
        self.nodes.services[self.victim].send(signal.SIGSTOP)

    async def heal(self) -> None:
        self.nodes.services[self.victim].send(signal.SIGCONT)


class Cut(Fault):
    silent = True

    async def strike(self) -> None:
        self.nodes.links[self.victim].cut(silent=self.silent)

    async def heal(self) -> None:
        self.nodes.links[self.victim].heal()


class Reset(Cut):
    silent = False


def fault_of(kind: FaultKind, nodes: Nodes, victim: str, *, number: int, chance: random.Random) -> Fault:
    """The fault of run `number`: each length in turn."""
    lasts = LASTS[number % len(LASTS)]
    lasts_s = lasts * DETECTION_S
    if kind is FaultKind.KILL:
        return Kill(nodes, victim, None, text=f"kill -9 {victim}")
    if kind is FaultKind.STOP:
        return Stop(nodes, victim, lasts_s, text=f"stop {victim} for {lasts_s:.0f} s")
    cut = chance.choice((Cut, Reset))
    return cut(nodes, victim, lasts_s, text=f"{cut.__name__.lower()} {victim} off for {lasts_s:.0f} s")
