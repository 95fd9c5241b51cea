"""Misfortune from a seed: processes that die, sleep, come and go, clocks that jump, a broker with moods."""

import asyncio
from typing import NamedTuple

from bennu.errors import AppendRefused, AppendUnknown, BadSettings
from bennu.limits import ID_AHEAD_MS
from bennu.log.memory import NO_FAULTS, Faults
from bennu.members import records
from bennu.members.limits import SILENCE_MS
from bennu.testing.clock import START_US
from bennu.v1.members_pb2 import HandoverAsked
from tests.simulation.logs import ProcessLog
from tests.simulation.process import Process
from tests.simulation.truth import require
from tests.simulation.world import MEMBERS, SLOTS, World


class Weather(NamedTuple):
    """How likely each misfortune is in this run, relative to the others."""

    crash: int = 1
    pause: int = 1
    cut: int = 1
    stop: int = 1
    handover: int = 1
    join: int = 1
    behind: int = 1
    recovery: int = 0
    members: int = 1
    twin: int = 0
    clock: int = 1
    broker: int = 2
    power: int = 0


CALM, ROUGH = 2.0, 0.5
"""How many seconds pass between two misfortunes, at most."""
CLIMATES = (
    (Weather(), CALM),
    (Weather(crash=6, recovery=2, power=2), ROUGH),
    (Weather(pause=8, behind=3), ROUGH),
    (Weather(cut=8, behind=3, members=3), 1.0),
    (Weather(stop=5, handover=8, join=5), ROUGH),
    (Weather(twin=8, join=3, members=3, clock=4), 1.0),
    (Weather(crash=2, pause=3, cut=3, stop=2, handover=2, join=2, power=1), ROUGH),
    (Weather(broker=8, crash=2), 1.0),
)
MOODS = (
    NO_FAULTS,
    Faults(delay=1.0, delay_max_ms=30),
    Faults(drop=0.05, refuse=0.05, duplicate=0.05, unknown=0.1, late=0.05, delay=0.5, late_max_ms=5_000),
    Faults(unknown=0.5, late=0.2, delay=0.5, delay_max_ms=300, late_max_ms=20_000),
    Faults(drop=0.3, refuse=0.3, late=0.2, delay=1.0, delay_max_ms=100, late_max_ms=8_000),
    Faults(duplicate=0.6, delay=0.8, delay_max_ms=2_000),
    Faults(drop=1.0),
)
MILD = MOODS[2]

PAUSES_S = (0.05, 0.5, *(times * SILENCE_MS / 1000 for times in (1, 1, 2, 2, 5, 12)))
FAILOVERS = 20
STOPS_WITHIN_S = 5.0
KNOWN_AFTER_S = 2.0
HOUR_US = 3_600_000_000
CLIENTS_DIFFER_US = 1_000_000
"""Clients' own clocks are wrong by less than this.  See `clients.uuid7`."""


class Operator:
    """Harms, and starts again what is down, mostly."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = world.random
        self._weather, self._pace_s = self._random.choice(CLIMATES)
        self._drills = self._random.random() < 0.06
        self._truncated = False
        self._log = ProcessLog(world.broker, world.random)

    async def run(self, until_s: float) -> None:
        self._mood(MILD)
        self._world.start(0)
        await asyncio.sleep(self._random.random())
        for slot in range(1, self._world.size):
            self._world.start(slot)
        if self._drills:
            await self._failovers()
        while self._world.loop.time() < until_s:
            await asyncio.sleep(self._random.random() * self._pace_s)
            name = self._random.choices(Weather._fields, self._weather)[0]
            await getattr(self, f"_{name}")()

    # --- the end of processes

    async def _crash(self) -> None:
        slot = self._victim()
        self._world.kill(slot)
        await asyncio.sleep(self._random.choice((0.0, 0.1, 2.0)) * self._random.random())
        self._start(slot)

    async def _recovery(self) -> None:
        """Five times in a row, before it has read what there is or just after."""
        slot = self._victim()
        for _ in range(5):
            self._world.kill(slot)
            self._start(slot)
            await asyncio.sleep(self._random.choice((0.01, 0.1, 1.5)) * self._random.random())

    async def _power(self) -> None:
        """All die at once, and all that start want to lead."""
        for slot in range(SLOTS):
            self._world.kill(slot)
        await asyncio.sleep(self._random.choice((0.0, 1.0)) * self._random.random())
        for slot in range(self._world.size):
            self._start(slot)

    async def _stop(self) -> None:
        """As told to, under load; it may be gone for a while, or for good."""
        slot = self._victim()
        process = self._world.slots[slot]
        if process is None or process.dead or process.owner.paused:
            return
        self._world.note(f"{process.label} is told to stop")
        self._world.background(self._stopped(process))
        await asyncio.sleep(self._random.choice((0.0, 0.2, 3.0)) * self._random.random())
        if len(self._world.live()) > 2 and self._random.random() < 0.3:
            return
        await process.gone_by_itself()
        self._start(slot)

    async def _stopped(self, process: Process) -> None:
        began_s = self._world.loop.time()
        await process.stop()
        took_s = self._world.loop.time() - began_s - process.slept_s
        self._world.note(f"{process.label} has stopped")
        require(took_s < STOPS_WITHIN_S, "I11", f"{process.label} took {took_s:.1f} s to stop")

    def _start(self, slot: int) -> None:
        process = self._world.slots[slot]
        if process is None or process.dead:
            self._world.start(slot)

    async def _join(self) -> None:
        """One more, or again."""
        free = [slot for slot, process in enumerate(self._world.slots) if process is None or process.dead]
        if free:
            self._start(self._random.choice(free))

    async def _twin(self) -> None:
        """Somebody starts a second process of a name: the later one ends."""
        process = self._world.slots[self._victim()]
        if process is None or process.dead or process.owner.paused or process.age_s < KNOWN_AFTER_S or self._truncated:
            return
        if self._world.broker.topic(MEMBERS).end == process.node.group.began_at:  # nothing would say which came later
            return
        twin = self._world.start_named(process.name)
        twin.excused = BadSettings
        self._world.twins[twin] = process

    # --- the absence of processes

    async def _pause(self) -> None:
        process = self._world.slots[self._victim()]
        if process is not None:
            self._sleep(process, self._random.choice(PAUSES_S) * (0.8 + 0.4 * self._random.random()))

    def _sleep(self, process: Process, length_s: float) -> None:
        if process.dead or process.owner.paused:
            return
        self._world.note(f"{process.label} is paused for {length_s:.3f} s")
        process.pause()
        process.slept_s += length_s
        self._world.until(self._world.loop.time() + length_s)
        self._world.loop.call_later(length_s, process.resume)

    async def _cut(self) -> None:
        """A process is cut off from the log, in one direction or both."""
        process = self._world.slots[self._victim()]
        if process is not None and not process.dead:
            self._cut_off(process, self._random.choice((0.3, 1.5, 6.0)) * self._random.random())

    def _cut_off(self, process: Process, length_s: float) -> None:
        process.log.deaf = self._random.random() < 0.5
        process.log.cut_until_s = self._world.loop.time() + length_s
        self._world.until(process.log.cut_until_s)
        self._world.note(f"{process.label} is cut off for {length_s:.3f} s{', can send' if process.log.deaf else ''}")

    async def _behind(self) -> None:
        """Followers are far behind when the leader dies."""
        number = self._random.randrange(self._world.partitions)
        leader = self._world.leader(number)
        length_s = self._random.choice((1.0, 4.0)) * self._random.random()
        for process in self._world.live():
            if process is not leader:
                self._random.choice((self._sleep, self._cut_off))(process, length_s)
        await asyncio.sleep(length_s * (0.9 + 0.2 * self._random.random()))
        if leader is not None and leader in self._world.slots:
            slot = self._world.slots.index(leader)
            self._world.kill(slot)
            await asyncio.sleep(self._random.random() * 2)
            self._start(slot)

    async def _handover(self) -> None:
        """An operator asks for it, of whoever is there."""
        service = "saga" if self._world.definitions and self._random.random() < 0.3 else "cserver"
        node = f"node-{self._random.randrange(SLOTS)}"
        number = self._random.randrange(self._world.partitions)
        self._world.note(f"{service} {number} is to be led by {node}")
        try:
            await self._log.append(MEMBERS, records.encode(HandoverAsked(service=service, partition=number, node=node)))
        except (AppendRefused, AppendUnknown):
            return

    async def _failovers(self) -> None:
        """One after another, each soon after somebody leads."""
        self._world.note(f"{FAILOVERS} failovers")
        for _ in range(FAILOVERS):
            number = self._random.randrange(self._world.partitions)
            leader = await self._next_leader(number)
            await asyncio.sleep(self._random.random() * 0.3)
            if leader is not None and leader in self._world.slots:
                await self._random.choice((self._kill, self._doze, self._stop_one, self._cut_one, self._give))(leader)

    async def _next_leader(self, number: int) -> Process | None:
        for _ in range(40):
            if leader := self._world.leader(number):
                return leader
            await asyncio.sleep(0.1)
        return None

    async def _kill(self, leader: Process) -> None:
        slot = self._world.slots.index(leader)
        self._world.kill(slot)
        self._start(slot)

    async def _doze(self, leader: Process) -> None:
        self._sleep(leader, 2 * SILENCE_MS / 1000)

    async def _cut_one(self, leader: Process) -> None:
        self._cut_off(leader, 2 * SILENCE_MS / 1000)

    async def _stop_one(self, leader: Process) -> None:
        slot = self._world.slots.index(leader)
        await self._stopped(leader)
        self._start(slot)

    async def _give(self, _: Process) -> None:
        await self._handover()

    # --- broker and clocks

    async def _members(self) -> None:
        """The log of members is away, loses its end, or its beginning."""
        topic, how = self._world.broker.topic(MEMBERS), self._random.choice(("away", "away", "expired", "truncated"))
        self._world.note(f"members log: {how}")
        middle = self._random.randrange(topic.first, topic.end + 1)
        if how == "away":
            until_s = self._world.loop.time() + self._random.choice((0.5, 3.0)) * self._random.random()
            self._world.away_until_s[MEMBERS] = until_s
            self._world.until(until_s)
        elif how == "expired" or self._world.twins:  # it says which of two was there before
            self._world.broker.expire_before(MEMBERS, middle)
        else:
            self._world.broker.truncate(MEMBERS, middle)
            self._truncated = True

    async def _clock(self) -> None:
        process = self._world.slots[self._victim()]
        if process is not None:
            by_us = self._random.choice((-HOUR_US, HOUR_US, -1_000, 40_000_000, -40_000_000))
            self._world.note(f"{process.label}: wall clock set by {by_us} us")
            process.clock.set_wall(by_us)
            behind_us = START_US + int(self._world.loop.time() * 1_000_000) - process.clock.wall_us()
            self._world.slow_clocks |= behind_us > ID_AHEAD_MS * 1000 - CLIENTS_DIFFER_US

    async def _broker(self) -> None:
        mood = self._random.randrange(len(MOODS))
        self._world.note(f"broker: mood {mood}")
        self._mood(MOODS[mood])

    def _mood(self, faults: Faults) -> None:
        self.end_mood()
        self._world.broker.faults = faults

    def end_mood(self) -> None:
        """The broker has no faults from now on, but what was sent before may still land."""
        faults = self._world.broker.faults
        latest_ms = max(faults.late_max_ms if faults.late else 0, 2 * faults.delay_max_ms if faults.delay else 0)
        self._world.until(self._world.loop.time() + latest_ms / 1000)
        self._world.broker.faults = NO_FAULTS

    def _victim(self) -> int:
        """Mostly one that leads."""
        leading = [slot for slot, process in enumerate(self._world.slots) if process is not None and process.led]
        if leading and self._random.random() < 0.6:
            return self._random.choice(leading)
        return self._random.randrange(SLOTS)
