"""What a candidate knows that was overtaken.  The simulation found it to know too little, once in a thousand runs."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from bank.app import app
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.replica.decision import refuse
from bennu.replica.fold import AggregateFold
from bennu.replica.journal import Position
from bennu.replica.leader import Candidate, Replica
from bennu.replica.state import ReplicaState
from bennu.testing.clock import ManualClock
from bennu.testing.loop import run
from bennu.v1.command_pb2 import Origin

TOPIC = "bank-events-0"
WINDOW_COUNT, WINDOW_AGE_MS = 10, 60_000


class Entry(NamedTuple):
    """A command as the journal names it."""

    command_id: str
    type_name: str
    digest: bytes
    origin: Origin


class OvertakenLog(MemoryLog):
    """Lets something happen between the sending of its first record and its landing."""

    def __init__(self, broker: MemoryBroker, first: Callable[[], Awaitable[None]]) -> None:
        super().__init__(broker)
        self._first: list[Callable[[], Awaitable[None]]] = [first]

    async def append(self, topic: str, record: bytes, *, timeout_ms: int = 3000) -> int:
        if self._first:
            await self._first.pop()()
        return await super().append(topic, record, timeout_ms=timeout_ms)


def replica_on(log: MemoryLog) -> Replica:
    state = ReplicaState(AggregateFold(app), partition=0, partitions=1)
    return Replica(log, Position(TOPIC), state, clock=ManualClock())


def candidate(node: str) -> Candidate:
    return Candidate(node, WINDOW_COUNT, WINDOW_AGE_MS)


async def leads_and_decides(rival: Replica) -> None:
    await rival.take_over(candidate("rival"))
    rival.open.add(Entry("once", "bank.v1.Deposit", bytes(16), Origin(actor="a")), refuse("account_unknown", "no"))
    await rival.commit(*rival.seal())


async def overtaken() -> ReplicaState:
    broker = MemoryBroker()
    broker.create(TOPIC)
    rival = replica_on(MemoryLog(broker))
    loser = replica_on(OvertakenLog(broker, lambda: leads_and_decides(rival)))
    await loser.take_over(candidate("loser"))
    assert not loser.leading
    await loser.journal.read_to_tail()
    return loser.state


def test_a_candidate_that_lost_remembers_the_winners_replies() -> None:
    """The epoch that overtook it fixes how many replies are kept: none of them is forgotten on this replica."""
    state = run(overtaken())
    assert state.window.count == WINDOW_COUNT
    assert state.window.get("once") is not None
