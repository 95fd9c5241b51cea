"""Who leads what, as the processes of a service say it in their members log."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing

import structlog

from bennu.drill.limits import RELEASE_HEARD_S
from bennu.errors import AppendRefused, AppendUnknown, Unavailable
from bennu.log.port import Log
from bennu.members import records
from bennu.members.directory import Directory, Peer
from bennu.ops import topics
from bennu.replica.clock import SystemClock
from bennu.replica.journal import Position
from bennu.v1.members_pb2 import SEAT_PART_FOLLOWS, SEAT_PART_LEADS, SEAT_PART_STOPPED, HandoverAsked, Heartbeat

SERVICE, SAGA = "cserver", "saga"

logger = structlog.get_logger()


class Watch:
    """Listens from now on; `run` keeps it true."""

    def __init__(self, log: Log, app_name: str, partitions: int, *, service: str = SERVICE) -> None:
        self._log = log
        self._service = service
        self._topic = topics.members(app_name)
        self._partitions = partitions
        self._clock = SystemClock()
        self._directory = Directory(service)
        self._changed = asyncio.Event()
        self._released: dict[tuple[int, int], int] = {}
        """Last batch of each leadership that was given up in order, by partition and epoch."""

    async def run(self) -> None:
        """For ever."""
        _, end = await self._log.bounds(self._topic)
        async with aclosing(self._log.read(self._topic, end)) as chunks:
            async for chunk in chunks:
                for record in chunk:
                    self._hear(records.decode(record.body))
                self._changed.set()

    def _hear(self, beat: Heartbeat | HandoverAsked | None) -> None:
        if isinstance(beat, Heartbeat) and self._directory.hear(beat, self._clock.monotonic_us()):
            for seat in beat.seats:
                if seat.released:
                    self._released[seat.partition, seat.epoch] = seat.batch_no

    async def until(self, condition: Callable[[], bool], timeout_s: float, *, what: str) -> None:
        """Return when it holds.  Raises `Unavailable`, which says for what was waited."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise Unavailable(f"after {timeout_s:.0f} s still not so: {what}; {self.told()}") from None

    async def release_of(self, number: int, epoch: int) -> int | None:
        """The last batch of a leadership that was given up in order, else None.

        Who leads next may be heard of sooner: it is told beside the log, and another process's heartbeat says it here.
        """
        try:
            await self.until(lambda: (number, epoch) in self._released, RELEASE_HEARD_S, what="a leadership given up")
        except Unavailable:
            return None
        return self._released[number, epoch]

    async def ask_handover(self, number: int, node: str) -> None:
        """As an operator would."""
        asked = HandoverAsked(service=self._service, partition=number, node=node)
        try:
            await self._log.append(self._topic, records.encode(asked))
        except (AppendRefused, AppendUnknown) as error:  # whoever waits for the handover asks again
            logger.warning("the request for a handover may be lost", reason=str(error))

    # --- what was heard

    def live(self) -> list[Peer]:
        """Nodes that were heard of lately."""
        return list(self._directory.live(self._clock.monotonic_us()))

    def addresses(self) -> dict[str, str]:
        """Of live nodes, by name."""
        return {peer.node: str(peer.beat.address) for peer in self.live()}

    def leader(self, number: int) -> tuple[str, int]:
        """Who leads, and its epoch; an empty name if nobody is known to."""
        claim = self._directory.leader(number)
        return (claim.node, claim.epoch) if claim else ("", 0)

    def led_by(self, node: str) -> list[int]:
        """Partitions that it leads."""
        return [number for number in range(self._partitions) if self.leader(number)[0] == node]

    def whole(self, nodes: Sequence[str]) -> bool:
        """All of them are live, each partition has one leader, and all others follow that one."""
        live = {peer.node: peer for peer in self.live()}
        return set(nodes) <= set(live) and all(
            self._is_whole(number, live.values()) for number in range(self._partitions)
        )

    def _is_whole(self, number: int, live: Iterable[Peer]) -> bool:
        leader, epoch = self.leader(number)
        for peer in live:
            seat = peer.seats.get(number)
            part = SEAT_PART_LEADS if peer.node == leader else SEAT_PART_FOLLOWS
            if seat is None or (seat.part, seat.epoch) != (part, epoch):
                return False
        return bool(leader)

    def at_end(self, nodes: Sequence[str], ends: Sequence[Position]) -> bool:
        """All nodes have read all journals to these ends."""
        live = {peer.node: peer for peer in self.live()}
        return set(nodes) <= set(live) and all(
            number in peer.seats and peer.seats[number].batch_no >= end.batch_no
            for peer in live.values()
            for number, end in enumerate(ends)
        )

    def stopped(self) -> list[str]:
        """Nodes that can't follow a partition any more, and why."""
        return [
            f"{peer.node} does not follow partition {seat.partition}: {seat.reason}"
            for peer in self.live()
            for seat in peer.seats.values()
            if seat.part == SEAT_PART_STOPPED
        ]

    def told(self) -> str:
        """For a message: who is live, and who leads what."""
        names = ", ".join(sorted(peer.node for peer in self.live())) or "nobody"
        leaders = " ".join(f"{number}:{self.leader(number)[0] or '?'}" for number in range(self._partitions))
        return f"live: {names}; leaders: {leaders}"
