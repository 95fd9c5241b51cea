"""The members log as a person at a shell sees it: who is there, and asking for a handover."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import NamedTuple

from bennu.errors import AppendRefused, AppendUnknown, Unavailable
from bennu.log.port import Log
from bennu.members import records
from bennu.members.limits import HEARTBEAT_MS, RECENT_RECORDS, SILENCE_MS
from bennu.v1.members_pb2 import SEAT_PART_FOLLOWS, SEAT_PART_LEADS, HandoverAsked, Heartbeat, Seat

LISTEN_S = (SILENCE_MS + HEARTBEAT_MS) / 1000
"""Who lives is heard within this time."""
ATTEMPTS = 5
ATTEMPT_S = 2.0


class Seen(NamedTuple):
    """A process, and whether it was heard while we listened."""

    beat: Heartbeat
    live: bool


async def look(log: Log, topic: str, *, until: Callable[[dict[str, Seen]], bool], timeout_s: float) -> dict[str, Seen]:
    """The processes by name, as their last heartbeats show them; listens until this holds, or for so long."""
    first, end = await log.bounds(topic)
    offset = max(first, end - RECENT_RECORDS)
    seen: dict[str, Seen] = {}
    try:
        async with asyncio.timeout(timeout_s), aclosing(log.read(topic, offset)) as chunks:
            async for chunk in chunks:
                for offset, body in chunk:
                    _hear(seen, body, live=offset >= end)
                if until(seen):
                    break
    except TimeoutError:
        return seen
    return seen


def _hear(seen: dict[str, Seen], body: bytes, *, live: bool) -> None:
    beat = records.decode(body)
    if isinstance(beat, Heartbeat):
        seen[beat.node] = Seen(beat, live and not beat.leaving)


async def everybody(log: Log, topic: str) -> list[Seen]:
    """All processes that the end of the log shows, of all services."""
    seen = await look(log, topic, until=lambda _: False, timeout_s=LISTEN_S)
    return sorted(seen.values(), key=lambda one: (one.beat.service, one.beat.node))


async def hand_over(log: Log, topic: str, asked: HandoverAsked) -> None:
    """Have a node lead a partition; returns once it says that it does.  Raises `Unavailable`, with the reason."""
    if _leads_already(await everybody(log, topic), asked):
        return

    def leads(seen: dict[str, Seen]) -> bool:
        found = _seats(list(seen.values()), asked).get(asked.node)
        return found is not None and found.part == SEAT_PART_LEADS

    for _ in range(ATTEMPTS):  # a leader passes over a request for a node that it has not heard of just then
        try:
            await log.append(topic, records.encode(asked))
        except (AppendRefused, AppendUnknown) as error:
            raise Unavailable(f"the log did not confirm the request: {error}; look with `bennu members`") from error
        if leads(await look(log, topic, until=leads, timeout_s=ATTEMPT_S)):
            return
    raise Unavailable(f"{asked.node} does not lead partition {asked.partition} after {ATTEMPTS * ATTEMPT_S:.0f} s")


def _leads_already(seen: list[Seen], asked: HandoverAsked) -> bool:
    """Raises `Unavailable` where it does not and can't."""
    seats = _seats(seen, asked)
    seat = seats.get(asked.node)
    if seat is not None and seat.part in (SEAT_PART_LEADS, SEAT_PART_FOLLOWS):
        return seat.part == SEAT_PART_LEADS
    numbers = {its.partition for beat, live in seen if live and beat.service == asked.service for its in beat.seats}
    if not numbers:
        raise Unavailable(f"no process of service {asked.service} was heard on this log; look with `bennu members`")
    if asked.partition not in numbers:
        there = f"are {len(numbers)} partitions, 0 to {max(numbers)}" if len(numbers) > 1 else "is one partition, 0"
        raise Unavailable(f"there is no partition {asked.partition} of {asked.service}: there {there}")
    can = ", ".join(node for node, other in seats.items() if other.part == SEAT_PART_FOLLOWS) or "nobody else"
    why = "is not there" if seat is None else f"does not follow it: {seat.reason or 'it is still reading'}"
    raise Unavailable(f"{asked.node} can't lead partition {asked.partition}: it {why}; {can} could")


def _seats(seen: list[Seen], asked: HandoverAsked) -> dict[str, Seat]:
    """What each live process of the service does in the partition."""
    return {
        beat.node: seat
        for beat, live in seen
        if live and beat.service == asked.service
        for seat in beat.seats
        if seat.partition == asked.partition
    }
