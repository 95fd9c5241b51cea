"""Several CServer processes over one embedded log, as a load balancer would have them."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import bennu.log
from bennu.members.outside import Seen, everybody, look
from bennu.v1.members_pb2 import SEAT_PART_FOLLOWS, SEAT_PART_LEADS
from tests.cserver.served import TIMEOUT_S, Server

PARTITIONS = 4


class Cluster:
    """Nodes `n0`, `n1`, ...; as a context manager it leaves no process behind."""

    def __init__(self, directory: Path, count: int = 3) -> None:
        self.directory = directory
        self.log_url = f"sqlite:{directory / 'log'}"
        self.nodes = [self.node(f"n{number}") for number in range(count)]

    def node(self, name: str, folder: str = "") -> Server:
        """One more, not started."""
        place = self.directory / (folder or name)
        place.mkdir()
        return Server(place, partitions=PARTITIONS, log_url=self.log_url, node=name)

    def __enter__(self) -> "Cluster":
        for node in self.nodes:
            node.launch()
        self.settled(*self.nodes)
        return self

    def __exit__(self, *_error: object) -> None:
        for node in self.nodes:
            node.process.kill()

    def settled(self, *live: Server) -> dict[int, Server]:
        """Wait until these share the partitions evenly, each following what it does not lead; who leads what."""
        names = {node.node: node for node in live}
        share = -(-PARTITIONS // len(live))

        def shared(seen: dict[str, Seen]) -> bool:
            leads = leaders(seen, set(names))
            return len(leads) == PARTITIONS and all(
                list(leads.values()).count(name) in (share, share - 1) and ready(seen, name) for name in names
            )

        seen = asyncio.run(self.seen(shared))
        return {number: names[name] for number, name in leaders(seen, set(names)).items()}

    async def seen(self, held: Callable[[dict[str, Seen]], bool]) -> dict[str, Seen]:
        """Listen until this holds of what the processes say."""
        async with bennu.log.open(self.log_url) as log:
            found = await look(log, "bank-members", until=held, timeout_s=TIMEOUT_S)
        assert held(found), found
        return found

    async def listened(self) -> list[Seen]:
        """Who says what, after a time in which anybody who is missed would have been taken over from."""
        async with bennu.log.open(self.log_url) as log:
            return await everybody(log, "bank-members")


def leaders(seen: dict[str, Seen], among: set[str]) -> dict[int, str]:
    """Who of these says that it leads, by partition."""
    found: dict[int, tuple[int, str]] = {}
    for name, (beat, live) in seen.items():
        for seat in beat.seats:
            if live and name in among and seat.part == SEAT_PART_LEADS:
                found[seat.partition] = max(found.get(seat.partition, (0, "")), (seat.epoch, name))
    return {number: name for number, (_, name) in found.items()}


def ready(seen: dict[str, Seen], name: str) -> bool:
    """Whether it leads or follows every partition."""
    return name in seen and all(seat.part in (SEAT_PART_FOLLOWS, SEAT_PART_LEADS) for seat in seen[name].beat.seats)
