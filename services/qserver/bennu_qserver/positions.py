"""Where each projection stands in each partition's journal: one row of `bennu.positions`, written by compare-and-set.

The row is the full position, so that one taken from another history of the journal is noticed.  `term` has 64 bits
without a sign, which `bigint` has not; `numeric` keeps it comparable with what other tools print.
"""

from decimal import Decimal
from typing import NamedTuple

from asyncpg import Record

from bennu.errors import BadSettings
from bennu.replica.journal import Position
from bennu.v1.journal_pb2 import EpochStart
from bennu_qserver.database import Connection
from bennu_qserver.errors import GenerationGone, PositionMoved
from bennu_qserver.generations import Key, is_kept

_FIELDS = ("topic", "log_offset", "epoch", "term", "batch_no", "next_seq", "digest")
_KEY = "app = $1 AND projection = $2 AND generation = $3 AND partition = $4"

_BEGIN = f"""
INSERT INTO bennu.positions (app, projection, generation, partition, partitions, {", ".join(_FIELDS)})
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING
"""  # noqa: S608 - made of constants
_READ = f"SELECT partitions, {', '.join(_FIELDS)} FROM bennu.positions WHERE {_KEY}"  # noqa: S608
_ALL = f"""
SELECT partition, partitions, {", ".join(_FIELDS)} FROM bennu.positions
WHERE app = $1 AND projection = $2 AND generation = $3
"""  # noqa: S608
_MOVE = f"""
UPDATE bennu.positions SET {", ".join(f"{name} = ${n}" for n, name in enumerate(_FIELDS, 5))}, updated_at = now()
WHERE {_KEY} AND {" AND ".join(f"{name} = ${n}" for n, name in enumerate(_FIELDS, 12))}
"""  # noqa: S608
_BEGUN = """
SELECT EXISTS (
    SELECT FROM bennu.positions WHERE app = $1 AND projection = $2 AND generation = $3 AND log_offset > 0
)
"""
_PARTITIONS = "SELECT partitions FROM bennu.positions WHERE app = $1 AND partitions <> $2 LIMIT 1"


class Place(NamedTuple):
    """Whose position it is."""

    app: str
    projection: str
    generation: int
    partition: int

    def __str__(self) -> str:
        return f"{self.projection}/{self.partition}, generation {self.generation}"

    @property
    def labels(self) -> dict[str, str]:
        """Of metrics."""
        return {name: str(value) for name, value in self._asdict().items()}

    @property
    def key(self) -> Key:
        """The generation alone."""
        return Key(self.app, self.projection, self.generation)


def _row(position: Position) -> tuple[object, ...]:
    return (*position._replace(term=Decimal(position.term)),)  # type: ignore[arg-type]  # numeric on the wire


def _position(row: Record) -> Position:
    values = [row[name] for name in _FIELDS]
    return Position(*values)._replace(term=int(row["term"]))


async def load(connection: Connection, place: Place, *, topic: str, partitions: int) -> Position:
    """The position to go on from; the beginning of the journal if there is none.

    Raises `BadSettings` when the tables were made for another number of partitions, or another journal, and
    `GenerationGone` where there are none.
    """
    if not await is_kept(connection, place.key):
        raise GenerationGone(f"{place}: it has no tables any more")
    await connection.execute(_BEGIN, *place, partitions, *_row(Position(topic)))
    row = await connection.fetchrow(_READ, *place)
    assert row is not None, "inserted just now, and kept while the generation is"
    if row["partitions"] != partitions:
        raise BadSettings(f"{place}: its tables hold {row['partitions']} partitions, the settings say {partitions}")
    if row["topic"] != topic:
        raise BadSettings(f"{place}: its position is one of {row['topic']}, not of {topic}")
    return _position(row)


async def read(connection: Connection, place: Place) -> Position:
    """The position as it is now.  Raises `GenerationGone`."""
    row = await connection.fetchrow(_READ, *place)
    if row is None:
        raise GenerationGone(f"{place}: its position went with its tables")
    return _position(row)


async def all_of(connection: Connection, key: Key) -> dict[int, tuple[Position, int]]:
    """Of a generation: by partition the position, and of how many partitions it is one."""
    rows = await connection.fetch(_ALL, *key)
    return {row["partition"]: (_position(row), row["partitions"]) for row in rows}


async def move(connection: Connection, place: Place, *, old: Position, new: Position) -> None:
    """First statement of every transaction that writes rows.  Raises `PositionMoved` if `old` is no longer there."""
    if await connection.execute(_MOVE, *place, *_row(new), *_row(old)) != "UPDATE 1":
        raise PositionMoved(f"{place}: another projector has moved the position from offset {old.offset}")


async def begun(connection: Connection, app: str, projection: str, *, generation: int) -> bool:
    """Whether anything was ever projected into this generation."""
    return bool(await connection.fetchval(_BEGUN, app, projection, generation))


async def check_partitions(connection: Connection, app: str, *, partitions: int) -> None:
    """Raise `BadSettings` when positions of this app speak of another number of partitions."""
    if other := await connection.fetchval(_PARTITIONS, app, partitions):
        raise BadSettings(f"app `{app}`: its tables hold {other} partitions, the settings say {partitions}")


def check_start(start: EpochStart, partition: int, partitions: int, *, where: str) -> None:
    """Raise `BadSettings` for a journal that was not written as this one of so many partitions."""
    if (start.partition, start.partitions) != (partition, partitions):
        raise BadSettings(
            f"{where}: the journal is of partition {start.partition} of {start.partitions}, "
            f"read as partition {partition} of {partitions}"
        )
