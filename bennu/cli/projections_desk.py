"""What `bennu projections` reads and writes in Postgres: wishes, which QServer carries out, and what became of them."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from bennu.errors import BadSettings, BennuError, Unavailable
from bennu.ops.generations import BUILDING, KEPT, LIVE, WORKER_GONE_S

if TYPE_CHECKING:
    import asyncpg

T = TypeVar("T")
TIMEOUT_S = 30.0

_APPS = "SELECT DISTINCT app FROM bennu.generations ORDER BY app"
_WORKERS = """
SELECT node, declarations FROM bennu.workers WHERE app = $1 AND seen_at > now() - make_interval(secs => $2)
ORDER BY node
"""
_GENERATIONS = """
SELECT
    g.projection, g.generation, g.state, g.declaration, g.wish, g.problem, g.asked_by, g.reason, g.created_at,
    g.changed_at, p.paused_by, p.paused_reason, coalesce(s.events, 0) AS events
FROM bennu.generations AS g
LEFT JOIN bennu.projections AS p USING (app, projection)
LEFT JOIN (
    SELECT app, projection, generation, sum(next_seq - 1)::bigint AS events FROM bennu.positions GROUP BY 1, 2, 3
) AS s USING (app, projection, generation)
WHERE g.app = $1 AND g.state = ANY($2) ORDER BY g.projection, g.generation
"""
_STATE = "SELECT state FROM bennu.generations WHERE app = $1 AND projection = $2 AND generation = $3"
_BEGIN = """
INSERT INTO bennu.generations (app, projection, generation, state, declaration, asked_by, reason, wish)
SELECT $1, $2, max(generation) + 1, 'building', $3, $4, $5, $6 FROM bennu.generations WHERE app = $1 AND projection = $2
RETURNING generation
"""
_WISH = """
UPDATE bennu.generations SET wish = $4, asked_by = $5, reason = $6,
    problem = CASE WHEN problem ~ '^(switch|drop|cancel): ' THEN NULL ELSE problem END
WHERE app = $1 AND projection = $2 AND generation = $3 AND state = $7
"""
_PAUSE = """
INSERT INTO bennu.projections (app, projection, paused_by, paused_reason, paused_at) VALUES ($1, $2, $3, $4, now())
ON CONFLICT (app, projection) DO UPDATE
SET paused_by = excluded.paused_by, paused_reason = excluded.paused_reason, paused_at = excluded.paused_at
"""
_RESUME = """
UPDATE bennu.projections SET paused_by = NULL, paused_reason = NULL, paused_at = NULL
WHERE app = $1 AND projection = $2 AND paused_by IS NOT NULL
"""
_LOCK = "LOCK TABLE bennu.generations IN SHARE ROW EXCLUSIVE MODE"


class NotPossible(BennuError):
    """What was asked for can't be done as things are."""


class Asked(NamedTuple):
    """Who wants something, and why."""

    actor: str
    reason: str


class Row(NamedTuple):
    """A generation, and how far it is."""

    projection: str
    generation: int
    state: str
    declaration: str
    wish: str | None
    problem: str | None
    asked_by: str
    reason: str
    created_at: datetime
    changed_at: datetime
    paused_by: str | None
    paused_reason: str | None
    events: int

    def able(self, workers: "Workers") -> list[str]:
        """QServers whose build can project it."""
        return [node for node, can in workers.items() if can.get(self.projection) == self.declaration]


Workers = Mapping[str, Mapping[str, str]]
"""QServers that live: the hash of each projection that they can project."""


class Desk:
    """Of one app, on one connection."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", app: str) -> None:
        self._connection = connection
        self.app = app

    async def rows(self, projection: str = "", states: Sequence[str] = KEPT) -> list[Row]:
        """Generations in these states, of one projection or all."""
        found = [Row(*row) for row in await self._connection.fetch(_GENERATIONS, self.app, list(states))]
        return [row for row in found if projection in ("", row.projection)]

    async def row(self, projection: str, generation: int) -> Row:
        """One that has tables.  Raises `NotPossible`."""
        rows = await self.rows(projection)
        for row in rows:
            if row.generation == generation:
                return row
        state = await self._connection.fetchval(_STATE, self.app, projection, generation)
        there = ", ".join(f"{row.generation} ({row.state})" for row in rows) or "none"
        raise NotPossible(f"{projection}, generation {generation}: {state or 'it never was'}; there are: {there}")

    async def live(self, projection: str) -> Row:
        """The one that people read.  Raises `NotPossible` for a projection that is not known."""
        rows = await self.rows(states=(LIVE,))
        for row in rows:
            if row.projection == projection:
                return row
        names = ", ".join(row.projection for row in rows) or "none"
        raise NotPossible(f"app `{self.app}` has no projection {projection}; there are: {names}")

    async def state(self, projection: str, generation: int) -> str:
        """Of one that was there once, too."""
        return str(await self._connection.fetchval(_STATE, self.app, projection, generation))

    async def workers(self) -> Workers:
        """Those that have been seen lately."""
        rows = await self._connection.fetch(_WORKERS, self.app, WORKER_GONE_S)
        return {row["node"]: json.loads(row["declarations"]) for row in rows}

    async def begin(self, projection: str, asked: Asked, *, wish: str | None, like: str = "") -> int:
        """Begin a generation, declared as the QServers that live do, or this one; its number.  Raises `NotPossible`."""
        async with self._connection.transaction():
            await self._connection.execute(_LOCK)
            await self.live(projection)
            for row in await self.rows(projection, (BUILDING,)):
                raise NotPossible(
                    f"{projection}: generation {row.generation} is built already, for {row.asked_by} ({row.reason}); "
                    "`bennu projections cancel` gives it up"
                )
            declaration = await self._declaration(projection, like)
            number = await self._connection.fetchval(
                _BEGIN, self.app, projection, declaration, asked.actor, asked.reason, wish
            )
        return int(number)

    async def _declaration(self, projection: str, like: str) -> str:
        workers = await self.workers()
        said = {node: can[projection] for node, can in workers.items() if projection in can and like in ("", node)}
        if not said:
            raise NotPossible(
                f"{projection}: no QServer {like or 'that declares it'} has been seen for {WORKER_GONE_S:g} s; "
                "start one first"
            )
        if len(set(said.values())) > 1:
            nodes = ", ".join(f"{node} ({declaration})" for node, declaration in said.items())
            raise NotPossible(
                f"{projection}: QServers of several builds live, which declare it differently: {nodes}; "
                "--like NODE says whose declaration is meant"
            )
        return next(iter(said.values()))

    async def wish(self, row: Row, wish: str | None, asked: Asked) -> None:
        """Write it down.  Raises `NotPossible` when the generation has another state by now."""
        key = (self.app, row.projection, row.generation)
        done = await self._connection.execute(_WISH, *key, wish, asked.actor, asked.reason, row.state)
        if done != "UPDATE 1":
            raise NotPossible(f"{row.projection}, generation {row.generation}: it is no longer {row.state}: look again")

    async def pause(self, projection: str, asked: Asked) -> None:
        """All its generations."""
        await self._connection.execute(_PAUSE, self.app, projection, asked.actor, asked.reason)

    async def resume(self, projection: str) -> bool:
        """Whether it was paused."""
        return await self._connection.execute(_RESUME, self.app, projection) == "UPDATE 1"


def at_desk(dsn: str, app: str, work: Callable[[Desk], Awaitable[T]]) -> T:
    """What `work` returns; `app` may be empty where the database holds one.  Raises `BadSettings`, `Unavailable`."""
    return asyncio.run(_at_desk(dsn, app, work))


async def _at_desk(dsn: str, app: str, work: Callable[[Desk], Awaitable[T]]) -> T:
    import asyncpg

    from bennu.ops.postgres import AWAY, MISTAKEN, Opening, Servers, cancellation_first

    opening = Opening(TIMEOUT_S, TIMEOUT_S, {"application_name": "bennu projections"})
    try:
        connection = await Servers(dsn).connect_anyhow(opening)
        try:
            with cancellation_first():
                return await work(Desk(connection, app or await _only_app(connection)))
        finally:
            await connection.close(timeout=TIMEOUT_S)
    except asyncpg.UndefinedTableError as error:
        raise NotPossible(f"no QServer of this version has been at this database: {error}") from error
    except MISTAKEN as error:
        raise BadSettings(f"postgres: {error}") from error
    except AWAY as error:
        raise Unavailable(f"Postgres: {type(error).__name__}: {error}") from error


async def _only_app(connection: "asyncpg.Connection[asyncpg.Record]") -> str:
    apps = [row["app"] for row in await connection.fetch(_APPS)]
    if len(apps) != 1:
        raise NotPossible(f"the database holds {', '.join(apps) or 'no app'}: --app says which one is meant")
    return str(apps[0])
