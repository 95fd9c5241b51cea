"""What all QServers of an app agree on: who lives, which generations there are, what is paused, what operators want.

It stands in `bennu.workers`, `bennu.generations` and `bennu.projections`; each process says that it lives, and reads
all of it, by one query.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from bennu.ops.generations import KEPT, LIVE, WORKER_GONE_S
from bennu_qserver.database import Connection

_STATES = ", ".join(f"'{state}'" for state in KEPT)
_FRESH = f"seen_at > now() - interval '{WORKER_GONE_S} seconds'"
_KEY = "app = $1 AND projection = $2 AND generation = $3"

_ROWS = f"""
SELECT json_agg(
    json_build_array(projection, generation, state, declaration, tables, wish, problem) ORDER BY projection, generation
)
FROM bennu.generations WHERE app = $1 AND state IN ({_STATES})
"""  # noqa: S608 - made of constants
_PAUSED = "SELECT projection FROM bennu.projections WHERE app = $1 AND paused_by IS NOT NULL"
_LOOK = f"""
WITH mine AS (
    INSERT INTO bennu.workers AS w (app, node, life, declarations) VALUES ($1, $2, $3, $4)
    ON CONFLICT (app, node) DO UPDATE SET life = excluded.life, declarations = excluded.declarations, seen_at = now()
    WHERE w.life = excluded.life OR NOT w.{_FRESH}
    RETURNING node
)
SELECT
    EXISTS (SELECT FROM mine) AS mine,
    (SELECT seen_at FROM bennu.workers WHERE app = $1 AND node = $2) AS seen_before,
    EXISTS (SELECT FROM bennu.workers WHERE app = $1 AND node = $2 AND life = $3 AND NOT {_FRESH}) AS was_away,
    (SELECT json_object_agg(node, declarations) FROM bennu.workers WHERE app = $1 AND {_FRESH}) AS workers,
    (SELECT json_agg(projection) FROM ({_PAUSED}) AS p) AS paused,
    ({_ROWS}) AS generations
"""  # noqa: S608 - made of constants
_LEAVE = "DELETE FROM bennu.workers WHERE app = $1 AND node = $2 AND life = $3"
_FORGET = "DELETE FROM bennu.workers WHERE app = $1 AND seen_at < now() - interval '1 hour'"
_LIVE = f"SELECT EXISTS (SELECT FROM bennu.generations WHERE app = $1 AND projection = $2 AND state = '{LIVE}')"  # noqa: S608
_FIRST = f"""
INSERT INTO bennu.generations (app, projection, generation, state, declaration, tables)
VALUES ($1, $2, 1, '{LIVE}', $3, $4)
"""  # noqa: S608
_MADE = f"UPDATE bennu.generations SET tables = $4 WHERE {_KEY} AND tables <> $4"  # noqa: S608
_TELL = f"UPDATE bennu.generations SET problem = $4 WHERE {_KEY} AND problem IS DISTINCT FROM $4"  # noqa: S608
_KEPT = f"SELECT state IN ({_STATES}) FROM bennu.generations WHERE {_KEY} FOR SHARE"  # noqa: S608


class Worker(NamedTuple):
    """This process, as the others see it."""

    app: str
    node: str
    life: int
    """Random: another process of the same name has another one."""
    declarations: Mapping[str, str]
    """The hash of each projection that it can project, by name."""


class Key(NamedTuple):
    """Which generation."""

    app: str
    projection: str
    number: int

    def __str__(self) -> str:
        return f"{self.projection}, generation {self.number}"


class Generation(NamedTuple):
    """A row of `bennu.generations`."""

    key: Key
    state: str
    declaration: str
    tables: tuple[str, ...]
    wish: str | None
    problem: str | None


class Seen(NamedTuple):
    """What one look found."""

    mine: bool
    """Whether this process has its name for itself; else all that follows is of no use."""
    seen_before: datetime | None
    """When the row of that name was written before."""
    was_away: bool
    """Whether this process has said nothing for so long that the others have taken over its share."""
    workers: Mapping[str, Mapping[str, str]]
    """Those that live, this one among them: what each can project."""
    paused: frozenset[str]
    generations: tuple[Generation, ...]

    def able(self, generation: Generation) -> frozenset[str]:
        """Nodes whose build declares the projection as this generation was made."""
        name = generation.key.projection
        return frozenset(node for node, can in self.workers.items() if can.get(name) == generation.declaration)


async def look(connection: Connection, worker: Worker) -> Seen:
    """Say that this process lives, and see what there is."""
    row = await connection.fetchrow(_LOOK, worker.app, worker.node, worker.life, json.dumps(dict(worker.declarations)))
    assert row is not None, "a SELECT without FROM"
    others = json.loads(row["workers"] or "{}")
    return Seen(
        row["mine"],
        row["seen_before"],
        row["was_away"],
        others | {worker.node: worker.declarations},
        frozenset(json.loads(row["paused"] or "[]")),
        _generations(worker.app, row["generations"]),
    )


async def paused(connection: Connection, app: str) -> frozenset[str]:
    """Names of the projections that are."""
    return frozenset(row["projection"] for row in await connection.fetch(_PAUSED, app))


async def kept(connection: Connection, app: str) -> tuple[Generation, ...]:
    """Those that have tables."""
    return _generations(app, await connection.fetchval(_ROWS, app))


def _generations(app: str, rows: str | None) -> tuple[Generation, ...]:
    return tuple(_generation(app, *each) for each in json.loads(rows or "[]"))


def _generation(app: str, projection: str, number: int, *rest: object) -> Generation:
    state, declaration, tables, wish, problem = rest
    assert isinstance(tables, list)
    return Generation(
        Key(app, projection, number),
        str(state),
        str(declaration),
        tuple(tables),
        None if wish is None else str(wish),
        None if problem is None else str(problem),
    )


async def leave(connection: Connection, worker: Worker) -> None:
    """This process ends in order: the others need not wait for its silence."""
    await connection.execute(_LEAVE, worker.app, worker.node, worker.life)


async def forget(connection: Connection, app: str) -> None:
    """Drop the rows of processes that ended long ago, whose names may never come back."""
    await connection.execute(_FORGET, app)


async def has_live(connection: Connection, app: str, projection: str) -> bool:
    """Whether there is a live generation, as there is from the first start on."""
    return bool(await connection.fetchval(_LIVE, app, projection))


async def begin_first(connection: Connection, key: Key, *, declaration: str, tables: list[str]) -> None:
    """The first generation is live from its beginning."""
    await connection.execute(_FIRST, key.app, key.projection, declaration, tables)


async def is_kept(connection: Connection, key: Key) -> bool:
    """Whether it still has tables; it keeps them to the end of this transaction."""
    return bool(await connection.fetchval(_KEPT, *key))


async def made(connection: Connection, key: Key, tables: list[str]) -> None:
    """Its tables are there, by these declared names."""
    await connection.execute(_MADE, *key, tables)


async def tell(connection: Connection, key: Key, problem: str | None) -> None:
    """Say in its row why it does not go on; None: it does."""
    await connection.execute(_TELL, *key, problem)
