"""More partitions in one process, and more processes that share them."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from typing import NamedTuple

from benchmarks.curves.servers import (
    BANK,
    FIRST_GUESS,
    FRAME,
    IN_FLIGHT,
    WARM_S,
    Row,
    Site,
    at_rate,
    client,
    cservers,
    flooded,
    open_accounts,
    percentiles,
    run_name,
)
from benchmarks.frames import NAMES, deposit_frames
from benchmarks.stream import StreamClient
from bennu import log as bennu_log
from bennu.errors import Unavailable
from bennu.members.outside import Seen, look
from bennu.ops import topics
from bennu.v1.members_pb2 import SEAT_PART_LEADS
from bennu.wire.partitioning import partition_of

PER_SECOND = 2_000
PARTITIONS = 6
"""Shared by the processes: each of one, two or three leads as many as the others."""
SETTLED_TIMEOUT_S = 60.0


class Way(NamedTuple):
    """Frames of one partition on their way to one process."""

    to: StreamClient
    partition: int


async def partitions(site: Site, sizes: Sequence[int], seconds: float) -> list[Row]:
    """A row for each number of partitions that one process leads; each frame has commands for all of them."""
    rows = []
    for number in sizes:
        with site.at() as ground, cservers(ground, partitions=number) as (leader,):
            async with client(leader) as to:
                await open_accounts(to)
                per_second, _ = await flooded(to, seconds)
                row: Row = {"partitions": number, "commands_per_second": round(per_second)}
                rows.append(row | await at_rate(to, (PER_SECOND, seconds)))
    return rows


async def processes(site: Site, sizes: Sequence[int], seconds: float) -> list[Row]:
    """A row for each number of processes: frames sent to whoever leads their partition, and to all alike."""
    return [await _shared(site, nodes, seconds) for nodes in sizes]


async def _shared(site: Site, nodes: int, seconds: float) -> Row:
    with ExitStack() as stack:
        ground = stack.enter_context(site.at())
        services = stack.enter_context(cservers(ground, partitions=PARTITIONS, nodes=nodes))
        leaders = await settled(ground.url, nodes)
        async with AsyncExitStack() as closing:
            clients = {
                f"n{number}": await closing.enter_async_context(client(service))
                for number, service in enumerate(services)
            }
            await open_accounts(clients["n0"])
            straight = [Way(clients[leaders[number]], number) for number in range(PARTITIONS)]
            anywhere = [Way(to, number) for number in range(PARTITIONS) for to in clients.values()]
            found: Row = {"processes": nodes, "led_by_the_busiest": max(Counter(leaders.values()).values())}
            for name, ways in (("to_the_leader", straight), ("to_anybody", anywhere)):
                found |= {f"{key}_{name}": value for key, value in (await _sent(ways, seconds)).items()}
    return found


async def _sent(ways: Sequence[Way], seconds: float) -> Row:
    """Deposits a second and the milliseconds of their frames, as many on their way as one process would be sent."""
    per_second, took_ms = float(FIRST_GUESS), [0.0]
    for last_s in (WARM_S, seconds):
        share = max(2, round(per_second * last_s / FRAME / len(ways)))
        sending = [(way.to, one_partition(way.partition, share)) for way in ways]
        began_s = time.perf_counter()
        in_flight = max(1, IN_FLIGHT // len(ways))
        answered = await asyncio.gather(*(to.send(frames, in_flight=in_flight) for to, frames in sending))
        per_second = share * len(ways) * FRAME / (time.perf_counter() - began_s)
        took_ms = [frame.took_ms for each in answered for frame in each]
    return {"commands_per_second": round(per_second)} | percentiles(took_ms)


def one_partition(number: int, frames: int) -> list[bytes]:
    """Frames of deposits that all belong to this partition, as a client that knows the hash makes them."""
    names = [name for name in NAMES if partition_of(name, PARTITIONS) == number]
    return deposit_frames(FRAME, frames, run=run_name(), names=names)


async def settled(url: str, nodes: int) -> Mapping[int, str]:
    """Who leads each partition, once all lead as many as one another.  Raises `Unavailable` if that takes too long."""

    def even(seen: Mapping[str, Seen]) -> bool:
        counted = Counter(leading(seen).values())
        return sum(counted.values()) == PARTITIONS and set(counted.values()) == {PARTITIONS // nodes}

    async with bennu_log.open(url) as log:
        seen = await look(log, topics.members(BANK.app.name), until=even, timeout_s=SETTLED_TIMEOUT_S)
    if not even(seen):
        raise Unavailable(f"after {SETTLED_TIMEOUT_S:.0f} s partitions are led by {leading(seen)}: not shared evenly")
    return leading(seen)


def leading(seen: Mapping[str, Seen]) -> Mapping[int, str]:
    """The process that leads each partition, as they say themselves."""
    return {
        seat.partition: node
        for node, one in seen.items()
        for seat in one.beat.seats
        if one.live and seat.part == SEAT_PART_LEADS
    }
