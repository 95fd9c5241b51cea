"""What a drill hears of who leads."""

import asyncio

import pytest

from bennu.drill import watch
from bennu.drill.watch import Watch
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.members import records
from bennu.ops import topics
from bennu.v1.members_pb2 import SEAT_PART_FOLLOWS, SEAT_PART_LEADS, Heartbeat, Seat
from tests.log.helpers import run

TOPIC = topics.members("bank")


def beat(node: str, seat: Seat) -> bytes:
    return records.encode(Heartbeat(node=node, life=1, count=1, service="cserver", seats=[seat]))


LEADS = beat("n2", Seat(partition=0, part=SEAT_PART_LEADS, epoch=2))
RELEASED = beat("n1", Seat(partition=0, part=SEAT_PART_FOLLOWS, epoch=1, released=True, batch_no=7))


def test_a_release_counts_also_when_the_heir_is_heard_of_first() -> None:
    """Each says it in a heartbeat of its own, and the heir was told beside the log."""

    async def body() -> None:
        log = MemoryLog(MemoryBroker())
        await log.create(TOPIC)
        watched = Watch(log, "bank", 1)
        listening = asyncio.create_task(watched.run())
        await asyncio.sleep(0)
        await log.append(TOPIC, LEADS)
        await watched.until(lambda: watched.leader(0) == ("n2", 2), 10, what="n2 leads")
        asking = asyncio.create_task(watched.release_of(0, 1))
        await asyncio.sleep(0)
        await log.append(TOPIC, RELEASED)
        assert await asking == 7
        listening.cancel()

    run(body())


def test_a_leadership_that_nobody_gave_up_was_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its leader was taken for dead."""

    async def body() -> None:
        assert await Watch(MemoryLog(MemoryBroker()), "bank", 1).release_of(0, 1) is None

    monkeypatch.setattr(watch, "RELEASE_HEARD_S", 0.01)
    run(body())
