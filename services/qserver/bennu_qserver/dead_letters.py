"""`bennu.dead_letters` as a loop reads and writes it: always in the transaction that holds its position."""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from bennu.domain import EventMeta
from bennu_qserver.database import Connection
from bennu_qserver.events import AggregateKey
from bennu_qserver.parked import Parked, shown_problem
from bennu_qserver.positions import Place
from bennu_qserver.trial import Letter
from bennu_qserver.values import EARLIEST_US, LATEST_US, mended_text

CAUSES = EventMeta._fields[3:]
"""What is kept of an event's command, in columns of the same names."""


def _of(alias: str) -> str:
    return ", ".join(f"{alias}.{name}" for name in CAUSES)


_CAUSES = ", ".join(CAUSES)
_HERE = "d.app = $1 AND d.projection = $2 AND d.generation = $3 AND d.partition = $4"
_PARKED = f"{_HERE} AND d.state = 'parked'"
_US = (
    "'epoch'::timestamptz + (s.at_us / 1000000) * interval '1 second' + (s.at_us % 1000000) * interval '1 microsecond'"
)

_LOAD = f"""
SELECT d.aggregate, d.key, max(d.seq) AS last_seq, count(*) AS events FROM bennu.dead_letters d
WHERE {_PARKED} GROUP BY d.aggregate, d.key
"""  # noqa: S608 - made of constants, as all below
_FORGET = f"""
DELETE FROM bennu.dead_letters d USING bennu.positions p
WHERE {_HERE} AND (p.app, p.projection, p.generation, p.partition) = (d.app, d.projection, d.generation, d.partition)
AND d.seq >= p.next_seq
"""  # noqa: S608
_ARE_PARKED = f"SELECT count(*) = cardinality($5::bigint[]) FROM bennu.dead_letters d WHERE {_PARKED} AND seq = ANY($5)"  # noqa: S608
_PARK = f"""
INSERT INTO bennu.dead_letters (
    app, projection, generation, partition, state,
    seq, aggregate, key, type, event, {_CAUSES}, recorded_at, problem
)
SELECT $1, $2, $3, $4, 'parked', s.seq, s.aggregate, s.key, s.type, s.event, {_of("s")}, {_US}, s.problem
FROM unnest($5::bigint[], $6::text[], $7::text[], $8::text[], $9::bytea[], $10::text[], $11::text[], $12::text[],
            $13::text[], $14::text[], $15::text[], $16::text[], $17::bigint[], $18::text[])
    AS s(seq, aggregate, key, type, event, {_CAUSES}, at_us, problem)
"""  # noqa: S608
_IS_WISHED = f"SELECT EXISTS (SELECT FROM bennu.dead_letters d WHERE {_PARKED} AND d.wish IN ('retry', 'discard'))"  # noqa: S608
_DISCARD = f"""
UPDATE bennu.dead_letters d SET
    wish = NULL,
    state = CASE WHEN d.problem IS NULL THEN d.state ELSE 'discarded' END,
    ended_at = CASE WHEN d.problem IS NULL THEN NULL ELSE now() END
WHERE {_PARKED} AND d.wish = 'discard'
"""  # noqa: S608
_WISHED = f"""
SELECT DISTINCT ON (d.aggregate, d.key) d.aggregate, d.key, d.wished_by, d.wished_reason
FROM bennu.dead_letters d WHERE {_PARKED} AND d.wish = 'retry' ORDER BY d.aggregate, d.key, d.seq
"""  # noqa: S608
_SPREAD = f"""
UPDATE bennu.dead_letters d SET wish = 'retry', wished_by = w.wished_by, wished_reason = w.wished_reason
FROM unnest($5::text[], $6::text[], $7::text[], $8::text[]) AS w(aggregate, key, wished_by, wished_reason)
WHERE {_PARKED} AND d.wish IS NULL AND (d.aggregate, d.key) = (w.aggregate, w.key)
"""  # noqa: S608
_RETRIED = f"""
SELECT d.seq, d.aggregate, d.key, d.type, d.event, {_of("d")},
    (extract(epoch FROM d.recorded_at) * 1000000)::bigint AS at_us
FROM bennu.dead_letters d JOIN unnest($5::text[], $6::text[]) AS w(aggregate, key) USING (aggregate, key)
WHERE {_PARKED} AND d.wish = 'retry' ORDER BY d.seq LIMIT $7
"""  # noqa: S608
_APPLIED = f"""
UPDATE bennu.dead_letters d SET state = 'applied', wish = NULL, ended_at = now(), applied_after = p.next_seq - 1
FROM bennu.positions p
WHERE {_PARKED} AND d.seq = ANY($5)
AND (p.app, p.projection, p.generation, p.partition) = (d.app, d.projection, d.generation, d.partition)
"""  # noqa: S608
_STAND = f"""
SELECT d.seq, d.state, d.applied_after, d.ended_at FROM bennu.dead_letters d
WHERE {_HERE} ORDER BY d.applied_after, d.ended_at, d.seq
"""  # noqa: S608
_FAILED = f"""
UPDATE bennu.dead_letters d SET
    wish = nullif(d.wish, 'retry'), problem = CASE WHEN d.seq = s.seq THEN s.problem END
FROM unnest($5::text[], $6::text[], $7::bigint[], $8::text[]) AS s(aggregate, key, seq, problem)
WHERE {_PARKED} AND (d.aggregate, d.key) = (s.aggregate, s.key)
"""  # noqa: S608


class Kept(NamedTuple):
    """An event as it was parked."""

    type: str
    raw: bytes
    key: AggregateKey
    meta: EventMeta


class Stood(NamedTuple):
    """What became of an event that was parked."""

    seq: int
    applied: bool
    """Else no row shows it."""
    after: int | None
    """The last event that was projected before it was applied; None: not known, it was long ago."""


async def stand(connection: Connection, place: Place) -> list[Stood]:
    """All that were ever parked here, those that were applied in the order in which they were."""
    rows = await connection.fetch(_STAND, *place)
    return [Stood(row["seq"], row["state"] == "applied", row["applied_after"]) for row in rows]


async def forget_others(connection: Connection, place: Place) -> None:
    """Drop those that the position has yet to come to: tables were dropped, and the journal is read anew."""
    await connection.execute(_FORGET, *place)


async def load(connection: Connection, place: Place) -> Parked:
    """What is parked."""
    rows = await connection.fetch(_LOAD, *place)
    last_seqs = {AggregateKey(row["aggregate"], row["key"]): row["last_seq"] for row in rows}
    return Parked(last_seqs, sum(row["events"] for row in rows))


async def are_parked(connection: Connection, place: Place, seqs: Collection[int]) -> bool:
    """Whether all of these, which differ, are."""
    return bool(await connection.fetchval(_ARE_PARKED, *place, list(seqs)))


async def park(connection: Connection, place: Place, letters: Sequence[Letter]) -> None:
    """Put them there."""
    rows = [
        (
            letter.event.meta.seq,
            *letter.key,
            letter.event.message.DESCRIPTOR.full_name,
            letter.event.raw,
            *(mended_text(getattr(letter.event.meta, name)) for name in CAUSES),
            min(max(letter.event.meta.recorded_at_us, EARLIEST_US), LATEST_US),
            shown_problem(letter.problem),
        )
        for letter in letters
    ]
    if rows:
        await connection.execute(_PARK, *place, *zip(*rows, strict=True))


async def is_wished(connection: Connection, place: Place) -> bool:
    """Whether an operator wants something."""
    return bool(await connection.fetchval(_IS_WISHED, *place))


async def discard(connection: Connection, place: Place) -> int:
    """End those that are to be discarded; how many.

    Only an event at fault is: nobody has tried those behind it, and what is not known to be at fault is not left out.
    """
    return _count(await connection.execute(_DISCARD, *place))


async def to_be_retried(connection: Connection, place: Place, *, most: int) -> Sequence[Kept]:
    """The oldest events of all keys that are to be retried, in order: what is parked later is meant, too."""
    # Asked for once: a wish may come between two statements, and of its key not all events would be seen.
    wished = await connection.fetch(_WISHED, *place)
    if not wished:
        return []
    aggregates, keys, *wishers = zip(*wished, strict=True)
    await connection.execute(_SPREAD, *place, aggregates, keys, *wishers)
    rows = await connection.fetch(_RETRIED, *place, aggregates, keys, most)
    return [
        Kept(
            row["type"],
            row["event"],
            AggregateKey(row["aggregate"], row["key"]),
            EventMeta(place.partition, row["seq"], row["at_us"], **{name: row[name] for name in CAUSES}),
        )
        for row in rows
    ]


async def retried(connection: Connection, place: Place, *, applied: Iterable[int], failed: Iterable[Letter]) -> None:
    """These numbers were projected; of each key that failed the first event has a problem, and none is retried on."""
    await connection.execute(_APPLIED, *place, list(applied))
    rows = [(*letter.key, letter.event.meta.seq, shown_problem(letter.problem)) for letter in failed]
    if rows:
        await connection.execute(_FAILED, *place, *zip(*rows, strict=True))


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])
