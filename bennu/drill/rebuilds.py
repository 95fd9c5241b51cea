"""Rebuilds as an operator asks for them, and what strikes while they run."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from bennu.cli.projections_desk import Asked, Desk, NotPossible, Row
from bennu.drill.failover import Say
from bennu.drill.limits import (
    DOWN_MAX_S,
    LEVEL_EVENTS,
    REBUILD_TIMEOUT_S,
    STATE_POLL_S,
    WHOLE_TIMEOUT_S,
)
from bennu.drill.nodes import Cluster
from bennu.drill.readers import Database
from bennu.drill.workload import Connection
from bennu.errors import Unavailable
from bennu.ops.generations import BUILDING, DROP, DROPPED, LIVE, PREVIOUS, SWITCH

T = TypeVar("T")

QSERVER, POSTGRES = "qserver", "postgres"
ASKED = Asked("drill", "rehearsal")


class Operator:
    """Writes wishes as `bennu projections` does, and waits for what becomes of them."""

    def __init__(self, database: Database, app_name: str, projection: str) -> None:
        self._database = database
        self._app_name = app_name
        self._projection = projection

    async def begin(self) -> int:
        """A generation that shall be switched to; its number.  Waits for a QServer that lives."""
        until_s = time.monotonic() + WHOLE_TIMEOUT_S
        while True:
            try:
                return await self._at_desk(lambda desk: desk.begin(self._projection, ASKED, wish=SWITCH))
            except NotPossible:
                if time.monotonic() > until_s:
                    raise
            await asyncio.sleep(STATE_POLL_S)

    async def level(self, number: int) -> None:
        """Until a generation lacks few events, or is built."""
        await self._until(partial(self._is_level, number), what=f"generation {number} comes near the live one")

    async def live(self, number: int) -> None:
        """Until views show it."""
        await self._until(partial(self._is, number, LIVE), what=f"generation {number} is switched to")

    async def drop_previous(self) -> None:
        """Those that nobody goes back to: each costs as much as a live one."""
        for row in await self._rows():
            if row.state == PREVIOUS:
                await self._drop(row)

    async def _drop(self, row: Row) -> None:
        await self._at_desk(lambda desk: desk.wish(row, DROP, ASKED))
        await self._until(partial(self._is, row.generation, DROPPED), what=f"generation {row.generation} is dropped")

    async def _until(self, condition: Callable[[], Awaitable[bool]], *, what: str) -> None:
        until_s = time.monotonic() + REBUILD_TIMEOUT_S
        while not await condition():
            if time.monotonic() > until_s:
                problems = [f"{row.generation} ({row.state}): {row.problem}" for row in await self._rows()]
                raise Unavailable(f"after {REBUILD_TIMEOUT_S:.0f} s still not so: {what}; {'; '.join(problems)}")
            await asyncio.sleep(STATE_POLL_S)

    async def _is(self, number: int, state: str) -> bool:
        return await self._at_desk(lambda desk: desk.state(self._projection, number)) == state

    async def _is_level(self, number: int) -> bool:
        rows = await self._rows()
        live = sum(row.events for row in rows if row.state == LIVE)
        return not any(
            row.generation == number and row.state == BUILDING and row.events < live - LEVEL_EVENTS for row in rows
        )

    async def _rows(self) -> list[Row]:
        return await self._at_desk(lambda desk: desk.rows(self._projection))

    async def _at_desk(self, work: Callable[[Desk], Awaitable[T]]) -> T:
        async def ask(connection: Connection) -> T:
            return await work(Desk(connection, self._app_name))

        return await self._database.ask(ask)


class Faults:
    """kill -9 of QServers and of Postgres, each started again after a moment."""

    def __init__(self, cluster: Cluster, chance: random.Random, say: Say) -> None:
        self.counts: Counter[str] = Counter()
        self._cluster = cluster
        self._chance = chance
        self._say = say

    async def pause(self, most_s: float) -> None:
        """A moment by chance."""
        await asyncio.sleep(self._chance.uniform(0, most_s))

    async def any(self, when: str) -> None:
        """Either of them."""
        await (self.postgres if self._chance.random() < 1 / 3 else self.qservers)(when)

    async def qservers(self, when: str) -> None:
        """One of them, or all at once."""
        names = self._cluster.nodes.of(QSERVER)
        hit = names if self._chance.random() < 1 / 2 else [self._chance.choice(names)]
        down_s = self._chance.uniform(0, DOWN_MAX_S)
        self.counts[QSERVER] += len(hit)
        self._say(f"kill -9 of {' and '.join(hit)} {when}, for {down_s:.1f} s")
        await asyncio.gather(*map(self._cluster.nodes.kill, hit))
        await asyncio.sleep(down_s)
        await asyncio.gather(*map(self._cluster.nodes.restart, hit))

    async def postgres(self, when: str) -> None:
        """The same data is served again."""
        server, down_s = self._cluster.postgres.server, self._chance.uniform(0, DOWN_MAX_S)
        self.counts[POSTGRES] += 1
        self._say(f"kill -9 of Postgres {when}, for {down_s:.1f} s")
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(down_s)
        await asyncio.to_thread(server.start)
