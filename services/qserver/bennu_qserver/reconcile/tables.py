"""All rows of projections, part by part, at the command line's pace."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from bennu.domain import App
from bennu.errors import BadSettings
from bennu.log.port import Log
from bennu.ops import partition_count
from bennu.snapshots.pace import give_way
from bennu_qserver.dispatch import compile_projections
from bennu_qserver.reconcile.check import Compared, compare
from bennu_qserver.reconcile.differences import Difference
from bennu_qserver.reconcile.expected import TooMany
from bennu_qserver.reconcile.found import CannotCompare, Wanted, count
from bennu_qserver.reconcile.part import Part, parts_for
from bennu_qserver.reconcile.session import Session

TRIES = 5
ROOM = 2
"""How many times as many rows as a part should have it may have: keys are spread by chance, and more come."""


class Shows(Protocol):
    """Who is told of what is found, as it is found."""

    def difference(self, projection: str, difference: Difference) -> None:
        """One of them."""

    def table(self, table: "Table") -> None:
        """All of it is compared."""

    def again(self, projection: str, why: str) -> None:
        """All that was said of this projection is void, and it is compared anew."""


class Table(NamedTuple):
    """What became of a projection."""

    projection: str
    generation: int
    rows: int
    """In Postgres."""
    expected: int
    events: int
    parked: int
    differences: int
    not_compared: tuple[str, ...]
    """Tables of which a fold can't say what they must hold, in words."""
    positions: tuple[str, ...]
    """Of the last part that was compared."""


class Request(NamedTuple):
    """What is to be compared."""

    app: App
    names: Sequence[str]
    """Of projections; none: all."""
    generation: int | None
    partitions: int
    """0: as the journals say."""
    rows_at_once: int


async def compare_all(session: Session, log: Log, request: Request, *, shows: Shows) -> None:
    """One after another.  Raises `BadSettings`, `CannotCompare`, and the errors of log, journal and Postgres."""
    declared = {each.name: each for each in compile_projections(request.app)}
    if unknown := [name for name in request.names if name not in declared]:
        raise BadSettings(f"app `{request.app.name}` has no projection {unknown[0]}; there are: {', '.join(declared)}")
    partitions = await partitions_of(log, request)
    chosen = [each for name, each in declared.items() if not request.names or name in request.names]
    wanted = [Wanted(each, request.generation, partitions, most=request.rows_at_once) for each in chosen]
    for each in wanted:
        shows.table(await _projection(session, log, each, shows=shows))


async def partitions_of(log: Log, request: Request) -> int:
    """As was told, else as the journals say.  Raises `CannotCompare` where nothing was begun."""
    if request.partitions:
        return request.partitions
    first = f"{request.app.name}-events-0"
    if said := await partition_count.still_said_by(log, first):
        return said
    raise CannotCompare(f"{first}: nothing was begun there, so nothing is known of the app; --log names another log")


class _Switched(Exception):
    """Another generation is live."""


async def _projection(session: Session, log: Log, wanted: Wanted, *, shows: Shows) -> Table:
    rows = await session.run(lambda connection: count(connection, wanted))
    parts = parts_for(rows, wanted.most)
    for _ in range(TRIES):
        try:
            return await _parts(session, log, wanted._replace(most=wanted.most * ROOM), parts=parts, shows=shows)
        except _Switched as switched:
            shows.again(wanted.declared.name, str(switched))
    raise CannotCompare(f"{wanted.declared.name}: another generation was switched to in each of {TRIES} tries")


async def _parts(session: Session, log: Log, wanted: Wanted, *, parts: list[Part], shows: Shows) -> Table:
    done: Table | None = None
    seen, show, left = set[object](), partial(shows.difference, wanted.declared.name), list(parts)
    while left:
        part = left.pop()
        try:
            compared = await compare(session.run, log, wanted._replace(part=part), turn=give_way)
        except TooMany:
            left += part.halves()
            continue
        generation = compared.found.compiled.generation
        if done is not None and generation != done.generation:
            raise _Switched(f"generation {generation} took the place of {done.generation} meanwhile")
        done = _with(done, wanted.declared.name, compared, differences=_shown(compared, seen, show))
    assert done is not None, "there is at least one part"
    return done


def _shown(compared: Compared, seen: set[object], show: Callable[[Difference], None]) -> int:
    """How many differences there are; those that are not of rows may be met in every part, and are told once."""
    total = 0
    for difference in compared.differences:
        if difference is not None and (difference.is_of_row or difference.place not in seen):
            seen.add(difference.place)
            show(difference)
            total += 1
    return total


def _with(done: Table | None, name: str, compared: Compared, *, differences: int) -> Table:
    found = compared.found
    stands = tuple(f"{position.topic}:{position.batch_no}" for position in found.positions.values())
    parked = sum(not letter.applied for letters in found.letters.values() for letter in letters)
    before = done or Table(name, found.compiled.generation, 0, 0, 0, 0, 0, (), ())
    return before._replace(
        rows=before.rows + found.size,
        expected=before.expected + compared.expected,
        events=max(before.events, compared.events),
        parked=parked,
        differences=before.differences + differences,
        not_compared=tuple(sorted({*before.not_compared, *compared.not_compared})),
        positions=stands,
    )
