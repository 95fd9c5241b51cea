"""Misfortune from a seed: processes that die, stop and go on, clocks that jump, a broker with moods."""

import asyncio
from typing import NamedTuple

from bennu.limits import ID_AHEAD_MS
from bennu.log.memory import NO_FAULTS, Faults
from bennu.testing.clock import START_US
from tests.simulation.world import SLOTS, World


class Weather(NamedTuple):
    """How likely each misfortune is in this run, relative to the others."""

    crash: int
    pause: int
    standby: int
    clock: int
    broker: int
    power: int
    pace_s: float


CLIMATES = (
    Weather(crash=3, pause=4, standby=6, clock=1, broker=2, power=1, pace_s=1.0),
    Weather(crash=8, pause=2, standby=8, clock=1, broker=1, power=3, pace_s=0.4),
    Weather(crash=1, pause=8, standby=10, clock=1, broker=2, power=0, pace_s=0.5),
    Weather(crash=1, pause=1, standby=2, clock=4, broker=4, power=1, pace_s=2.0),
    Weather(crash=0, pause=3, standby=12, clock=0, broker=1, power=2, pace_s=0.3),
)
MOODS = (
    NO_FAULTS,
    Faults(delay=1.0, delay_max_ms=30),
    Faults(drop=0.05, refuse=0.05, duplicate=0.05, unknown=0.1, late=0.05, delay=0.5, late_max_ms=5_000),
    Faults(unknown=0.5, late=0.2, delay=0.5, delay_max_ms=300, late_max_ms=20_000),
    Faults(drop=0.3, refuse=0.3, late=0.2, delay=1.0, delay_max_ms=100, late_max_ms=20_000),
    Faults(duplicate=0.6, delay=0.8, delay_max_ms=2_000),
    Faults(drop=1.0),
)
LATE_MS = 20_000
"""No append of these moods lands later than this after it was sent."""

PAUSES_S = (0.05, 0.5, 3.0, 12.0)
HOUR_US = 3_600_000_000
CLIENTS_DIFFER_US = 1_000_000
"""Clients' own clocks are wrong by less than this.  See `clients.uuid7`."""


class Operator:
    """Harms, and restarts what is down: a standby takes over only when it is started anew."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = world.random
        self._weather = self._random.choice(CLIMATES)

    async def run(self, until_s: float) -> None:
        self._world.broker.faults = MOODS[2]
        self._world.start(0)
        await asyncio.sleep(self._random.random())
        for slot in range(1, SLOTS):
            self._world.start(slot)
        weights = self._weather[:-1]
        while self._world.loop.time() < until_s:
            await asyncio.sleep(self._random.random() * self._weather.pace_s)
            name = self._random.choices(Weather._fields[:-1], weights)[0]
            await getattr(self, f"_{name}")()

    async def _crash(self) -> None:
        slot = self._victim()
        self._world.kill(slot)
        await asyncio.sleep(self._random.choice((0.0, 0.1, 2.0)) * self._random.random())
        self._world.start(slot)

    async def _pause(self) -> None:
        process = self._world.slots[self._victim()]
        if process is None or process.dead or process.owner.paused:
            return
        length_s = self._random.choice(PAUSES_S) * self._random.random()
        self._world.note(f"{process.name} is paused for {length_s:.3f} s")
        process.pause()
        self._world.loop.call_later(length_s, process.resume)

    async def _standby(self) -> None:
        """Start a process that does not lead anew, so that it takes over."""
        slots = [slot for slot, process in enumerate(self._world.slots) if process is None or not process.leads]
        if slots:
            slot = self._random.choice(slots)
            self._world.kill(slot)
            self._world.start(slot)

    async def _clock(self) -> None:
        process = self._world.slots[self._victim()]
        if process is not None:
            by_us = self._random.choice((-HOUR_US, HOUR_US, -1_000, 40_000_000, -40_000_000))
            self._world.note(f"{process.name}: wall clock set by {by_us} us")
            process.clock.set_wall(by_us)
            behind_us = START_US + int(self._world.loop.time() * 1_000_000) - process.clock.wall_us()
            self._world.slow_clocks |= behind_us > ID_AHEAD_MS * 1000 - CLIENTS_DIFFER_US

    async def _broker(self) -> None:
        mood = self._random.randrange(len(MOODS))
        self._world.note(f"broker: mood {mood}")
        self._world.broker.faults = MOODS[mood]

    async def _power(self) -> None:
        """All die at once, and all that start want to lead."""
        for slot in range(SLOTS):
            self._world.kill(slot)
        await asyncio.sleep(self._random.choice((0.0, 1.0)) * self._random.random())
        for slot in range(SLOTS):
            self._world.start(slot)

    def _victim(self) -> int:
        """Mostly one that leads."""
        leading = [slot for slot, process in enumerate(self._world.slots) if process is not None and process.leads]
        if leading and self._random.random() < 0.7:
            return self._random.choice(leading)
        return self._random.randrange(SLOTS)
