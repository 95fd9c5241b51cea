"""A process among the others of its service: it beats, listens, and says whose turn it is to lead.

Nothing here is proof of anything: whoever proposes out of turn takes a partition from its leader and does no other
harm, for the journal's own order decides (`bennu/replica/journal.py`).
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from importlib.metadata import version
from typing import Protocol

import structlog

from bennu.errors import AppendRefused, AppendUnknown, BadSettings, Final, OffsetBeyondTail, OffsetGone, Unavailable
from bennu.log.port import Log
from bennu.members import records
from bennu.members.directory import Claim, Directory, Release, life_order
from bennu.members.limits import (
    FAREWELL_MS,
    HEARTBEAT_MS,
    HEARTBEAT_TIMEOUT_MS,
    RECENT_RECORDS,
)
from bennu.members.turns import Turns
from bennu.ops.pulse import Pulse
from bennu.replica.chance import system_chance
from bennu.replica.clock import Clock
from bennu.v1.members_pb2 import SEAT_PART_FOLLOWS, SEAT_PART_LEADS, HandoverAsked, Heartbeat, Seat

logger = structlog.get_logger()

BUILD = version("bennu")


class Holder(Protocol):
    """A process's part in one partition."""

    number: int

    def seat(self) -> Seat:
        """As a heartbeat says it."""

    def your_turn(self, epoch: int) -> None:
        """Nobody leads by this epoch, and this process is to propose the next one."""

    def hand_over(self, successor: str, *, pinned: bool) -> None:
        """Finish what is under way and lead no more."""

    def led_by(self, node: str) -> None:
        """Who leads now, as far as is known; empty if nobody does."""


@dataclass(frozen=True)
class Identity:
    """How a process is known to the others."""

    service: str
    node: str
    address: str = ""


Tell = Callable[[Sequence[str], Seat], None]
"""Says to the processes at these addresses that a leadership, which the seat shows, was given up; does not wait."""


class Group:
    """One process's view.  `run` keeps it true; `join` adds what the process does."""

    def __init__(
        self, log: Log, topic: str, me: Identity, *, clock: Clock, chance: random.Random | None = None
    ) -> None:
        self.me = me
        self._log = log
        self._topic = topic
        self._clock = clock
        self._chance = chance or system_chance()
        self.directory = Directory(me.service)
        self._turns = Turns(me.node, self.directory)
        self._life = self._chance.getrandbits(64)
        self._count = 0
        self._tell: Tell = lambda _addresses, _seat: None
        self._given_up: dict[int, Seat] = {}
        """Seats to be said once, though the next one may lead by then."""
        self.leaving = False
        self._holders: dict[int, Holder] = {}
        self._beat_now = asyncio.Event()
        self._changed = Pulse()
        self.began_at = 0
        """Where the log ended when this life began."""
        self._later_life = 0
        self._earlier_lives: dict[int, int] = {}
        """Of our name, with the newest count that was heard of each."""

    def join(self, holder: Holder) -> None:
        """Add this process's part in a partition; before `run`."""
        self._holders[holder.number] = holder

    # --- what the process's own parts say

    def changed(self) -> None:
        """A part of this process changed: tell the others at once, and whoever waits here."""
        self._beat_now.set()
        self._changed.beat()

    def alive(self, number: int, epoch: int, term: int) -> None:
        """A batch of this leadership was read."""
        self._turns.sign(number, epoch, term, now_us=self._clock.monotonic_us())

    def tell_by(self, tell: Tell) -> None:
        """A way to the others beside the log."""
        self._tell = tell

    def gave_up(self, seat: Seat) -> None:
        """This process leads no more, as its seat says.  Who was named need not wait until the log says so, too."""
        self._release(seat)
        self._given_up[seat.partition] = seat
        others = (peer.beat.address for peer in self.directory.live(self._clock.monotonic_us()))
        self._tell([address for address in others if address not in ("", self.me.address)], seat)

    def heard_release(self, seat: Seat) -> None:
        """Another process says that it gave up a leadership; counts only for the one that this process follows."""
        holder = self._holders.get(seat.partition)
        if holder is not None and seat.released and _leadership(holder.seat()) == _leadership(seat):
            self._release(seat)

    def _release(self, seat: Seat) -> None:
        self.directory.release(seat, self._clock.monotonic_us())
        self._changed.beat()

    def retire(self) -> None:
        """This process is about to end: take over nothing more, and let nobody choose it."""
        self.leaving = True
        self.changed()

    # --- what is asked of it

    def leader(self, number: int) -> Claim | None:
        """Who else leads, as far as is known: nobody whose epoch this process has seen the end of."""
        claim = self.directory.leader(number)
        if claim is None or claim.node == self.me.node:
            return None
        return claim if claim.epoch >= self._holders[number].seat().epoch else None

    def somebody_leads(self, number: int) -> bool:
        """Whether another process that is live says so."""
        claim = self.leader(number)
        return claim is not None and any(
            peer.node == claim.node for peer in self.directory.live(self._clock.monotonic_us())
        )

    def named(self, seat: Seat) -> Release | None:
        """How the last leader gave this leadership to this process, if it did."""
        release = self.directory.released(seat)
        return release if release is not None and release.successor == self.me.node else None

    def successor(self, number: int) -> str:
        """Who should lead when this process does not; empty if nobody can."""
        order = self._turns.order(number, self._clock.monotonic_us())
        return next((node for node in order if node != self.me.node), "")

    async def wait_changed(self, timeout_s: float) -> None:
        """Return when something was heard or said, or after a while."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return

    # --- what it does

    async def run(self) -> None:
        """For ever.  Raises `BadSettings` when another process of this name was there before."""
        first, self.began_at = await self._bounds()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen(max(first, self.began_at - RECENT_RECORDS), self.began_at))
            group.create_task(self._beat())
            group.create_task(self._decide())

    async def leave(self) -> None:
        """Say goodbye, if the log lets us: what this process led was released before."""
        self.leaving = True
        await self._say(FAREWELL_MS)

    async def _beat(self) -> None:
        while True:
            self._beat_now.clear()
            await self._say(HEARTBEAT_TIMEOUT_MS)
            try:
                async with asyncio.timeout(HEARTBEAT_MS / 1000 * (0.9 + 0.2 * self._chance.random())):
                    await self._beat_now.wait()
            except TimeoutError:
                continue

    async def _say(self, timeout_ms: int) -> None:
        """One heartbeat.  One that is lost is not sent again: the next one says more."""
        self._count += 1
        beat = Heartbeat(
            node=self.me.node,
            life=self._life,
            count=self._count,
            service=self.me.service,
            address=self.me.address,
            leaving=self.leaving,
            sent_at_us=self._clock.wall_us(),
            build=BUILD,
            began_at=self.began_at,
            later_life=self._later_life,
            seats=self._seats(),
        )
        try:
            await self._log.append(self._topic, records.encode(beat), timeout_ms=timeout_ms)
        except AppendUnknown:
            return
        except AppendRefused as error:
            if error.final:
                raise Final(f"{self._topic}: the log takes no heartbeat: {error}") from error
            await asyncio.sleep(HEARTBEAT_MS / 1000)

    def _seats(self) -> list[Seat]:
        if self._given_up:
            self._beat_now.set()  # how they are now is said at once after it
        given_up, self._given_up = self._given_up, {}
        return [given_up[n] if n in given_up else holder.seat() for n, holder in self._holders.items()]

    async def _listen(self, offset: int, end: int) -> None:
        """What stood in the log before its `end` counts only for what was released."""
        while True:
            try:
                async with aclosing(self._log.read(self._topic, offset)) as chunks:
                    async for chunk in chunks:
                        for record in chunk:
                            self._hear(record.body, fresh=record.offset >= end)
                        offset = chunk[-1].offset + 1
                        self._changed.beat()
            except (OffsetGone, OffsetBeyondTail) as error:
                logger.warning("the members log is another one now; listening from its end", reason=str(error))
                offset = end = (await self._bounds())[1]

    async def _bounds(self) -> tuple[int, int]:
        while True:
            try:
                return await self._log.bounds(self._topic)
            except Unavailable:
                await asyncio.sleep(HEARTBEAT_MS / 1000)

    def _hear(self, body: bytes, *, fresh: bool) -> None:
        record, now_us = records.decode(body), self._clock.monotonic_us()
        if isinstance(record, HandoverAsked) and fresh:
            self._asked(record, now_us)
        if not isinstance(record, Heartbeat) or record.service != self.me.service:
            return
        if record.node == self.me.node:
            self._hear_own_name(record, now_us)
        if self.directory.hear(record, now_us):
            for seat in record.seats:
                if seat.part == SEAT_PART_LEADS and fresh:
                    self._turns.sign(seat.partition, seat.epoch, seat.term, now_us=now_us)
        if not fresh:
            self.directory.forget()

    def _hear_own_name(self, beat: Heartbeat, now_us: int) -> None:
        if beat.life == self._life:
            self._turns.echo(now_us)
        elif beat.later_life == self._life:
            raise BadSettings(
                f"another process of service {self.me.service} is called {self.me.node} and was there before: "
                "give each its own --node"
            )
        elif life_order(beat) > (self.began_at, self._life):
            self._name(beat.life)
        elif self._earlier_lives.get(beat.life, 0) < beat.count:  # else it lay somewhere, and is no sign of life
            self._earlier_lives[beat.life] = beat.count
            self._turns.rival(None if beat.leaving else now_us)

    def _name(self, later: int) -> None:
        """At once: until it hears this, it takes itself for one of us."""
        if later != self._later_life:
            self._later_life = later
            self._beat_now.set()

    # --- whose turn it is

    async def _decide(self) -> None:
        """Again when anything was heard, at the latest our own heartbeat, and when it may be our turn."""
        while True:
            now_us = self._clock.monotonic_us()
            due_us = [self._decide_about(holder, now_us) for holder in self._holders.values()]
            next_us = min((due for due in due_us if due is not None and due > now_us), default=None)
            await self.wait_changed(HEARTBEAT_MS / 1000 if next_us is None else (next_us - now_us) / 1_000_000)
            await asyncio.sleep(0)

    def _decide_about(self, holder: Holder, now_us: int) -> int | None:
        """Do what is to be done now; when it may be our turn to propose if nothing is heard until then."""
        seat = holder.seat()
        leads = seat.part == SEAT_PART_LEADS
        claim = None if self._turns.is_deaf(now_us) else self.leader(seat.partition)
        holder.led_by(self.me.node if leads else claim.node if claim else "")
        if self.leaving:
            return None
        if leads and not seat.pinned and (heir := self._turns.heir(seat, now_us)):
            self._hand(holder, heir, now_us, pinned=False)
        if seat.part != SEAT_PART_FOLLOWS:
            return None
        due_us = self._turns.due_us(seat, now_us)
        if due_us is not None and due_us <= now_us:
            holder.your_turn(seat.epoch)
        return due_us

    def _asked(self, asked: HandoverAsked, now_us: int) -> None:
        holder = self._holders.get(asked.partition)
        if asked.service != self.me.service or holder is None or holder.seat().part != SEAT_PART_LEADS:
            return
        if asked.node != self.me.node and asked.node in self._turns.candidates(asked.partition, now_us):
            self._hand(holder, asked.node, now_us, pinned=True)

    def _hand(self, holder: Holder, node: str, now_us: int, *, pinned: bool) -> None:
        self._turns.handed(holder.number, now_us)
        holder.hand_over(node, pinned=pinned)


def _leadership(seat: Seat) -> tuple[int, int]:
    return seat.epoch, seat.term
