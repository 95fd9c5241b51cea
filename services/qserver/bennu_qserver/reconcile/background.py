"""QServer compares its own tables, over and over, so slowly that nothing else feels it.

    a part of the rows → a rest → the next part … → all were compared: from the beginning

For each projection one process does it, the one that carries out what operators wish for it.  How far it is stands in
`bennu.reconciled`, so whoever takes over goes on there.  What can't be compared is said, and ends nothing.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, NoReturn

import structlog
from asyncpg import exceptions as pg

from bennu.errors import BennuError
from bennu.log.port import Log
from bennu.ops.metrics import Metrics
from bennu.ops.postgres import AWAY
from bennu.ops.readiness import Readiness
from bennu_qserver.database import Database
from bennu_qserver.dispatch import DeclaredProjection
from bennu_qserver.limits import RECONCILE_FIRST, RECONCILE_REST_S, RECONCILE_ROWS, RECONCILE_WORK_MS
from bennu_qserver.reconcile import status
from bennu_qserver.reconcile.check import Compared, compare
from bennu_qserver.reconcile.expected import TooMany
from bennu_qserver.reconcile.found import Wanted, count
from bennu_qserver.reconcile.part import Part, parts_for
from bennu_qserver.reconcile.status import Pass

logger = structlog.get_logger()

READY = "reconcile"


class Share:
    """Works for a small share of the processor's time, and rests for the remainder."""

    def __init__(self, percent: float, give_way: Callable[[], Awaitable[None]]) -> None:
        self._rest = 100 / percent - 1
        self._give_way = give_way
        self._since_s = time.process_time()

    async def __call__(self) -> None:
        """A turn for others, when it is time for one."""
        worked_s = time.process_time() - self._since_s
        if worked_s * 1000 >= RECONCILE_WORK_MS:
            await asyncio.sleep(worked_s * self._rest)
            await self._give_way()
            self._since_s = time.process_time()


class Shown:
    """Metrics of one projection."""

    def __init__(self, metrics: Metrics, app: str, projection: str) -> None:
        labels = {"app": app, "projection": projection}
        self.rows = metrics.counter("bennu_reconcile_rows_total", "Rows compared with the journal.", **labels)
        self._differences = metrics.gauge(
            "bennu_reconcile_differences",
            "What the last look at each row found not to be as the journal says.",
            **labels,
        )
        self._not_compared = metrics.gauge(
            "bennu_reconcile_tables_not_compared",
            "Tables of which nobody can say what they must hold, such as those that plain SQL changes.",
            **labels,
        )
        self._stopped = metrics.gauge("bennu_reconcile_stopped", "1: nothing can be compared.", **labels)
        self._age = metrics.gauge(
            "bennu_reconcile_whole_age_seconds",
            "Since all rows were compared; until they first were, since this process began with it.",
            **labels,
        )
        self._whole_s: float | None = None
        self._age.set_function(self._age_s)

    def passed(self, done: Pass) -> None:
        """It has come so far."""
        if done.whole_age_s is not None:
            self._whole_s = time.time() - done.whole_age_s
        elif self._whole_s is None:
            self._whole_s = time.time()
        self._differences.set(max(done.differences, done.whole_differences))
        self._not_compared.set(len(done.not_compared))
        self._stopped.set(0)

    def stopped(self) -> None:
        """Nothing can be compared."""
        self._stopped.set(1)

    def ended(self) -> None:
        """It is another process's now."""
        self._whole_s = None
        self._differences.set(0)
        self._not_compared.set(0)
        self._stopped.set(0)

    def _age_s(self) -> float:
        return 0.0 if self._whole_s is None else time.time() - self._whole_s


class Means(NamedTuple):
    """What the comparison works with."""

    log: Log
    database: Database
    partitions: int
    turn: Callable[[], Awaitable[None]]
    metrics: Metrics


class Background:
    """Of the projections that `leads` names, each time it is asked."""

    def __init__(self, leads: Callable[[], Sequence[DeclaredProjection]], means: Means, readiness: Readiness) -> None:
        self._leads = leads
        self._means = means
        self._readiness = readiness
        self._shown: dict[str, Shown] = {}
        self._problems: dict[str, str] = {}
        self._found: dict[str, list[str]] = {}
        self._left_out: dict[str, list[str]] = {}
        self._is_shown = False

    async def run(self) -> NoReturn:
        """For ever."""
        while True:
            await asyncio.sleep(RECONCILE_REST_S * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, not a secret
            leads = {declared.name: declared for declared in self._leads()}
            for name in self._shown.keys() - leads.keys():
                self._shown.pop(name).ended()
                self._found.pop(name, None)
                self._left_out.pop(name, None)
            for declared in leads.values():
                await self._look(declared)

    async def _look(self, declared: DeclaredProjection) -> None:
        name = declared.name
        shown = self._shown.get(name) or Shown(self._means.metrics, declared.app, name)
        self._shown[name] = shown
        try:
            await self._part(declared, shown)
        except (*AWAY, pg.PostgresError, BennuError) as problem:
            shown.stopped()
            await self._tell(declared, f"{type(problem).__name__}: {problem}")
        else:
            self._problems.pop(name, None)

    async def _tell(self, declared: DeclaredProjection, problem: str) -> None:
        if self._problems.get(declared.name) == problem:
            return
        self._problems[declared.name] = problem
        logger.warning("tables can't be compared with the journal", projection=declared.name, reason=problem)
        try:
            await self._means.database.once(
                lambda connection: status.tell(connection, (declared.app, declared.name), problem)
            )
        except (*AWAY, pg.PostgresError) as error:
            logger.info("that can't be written down", reason=f"{type(error).__name__}: {error}")

    async def _part(self, declared: DeclaredProjection, shown: Shown) -> None:
        """The next one."""
        run, place = self._means.database.once, (declared.app, declared.name)
        under_way = await self._begun(declared)
        wanted = Wanted(
            declared, None, self._means.partitions, Part(under_way.part, under_way.parts), 2 * RECONCILE_ROWS
        )
        try:
            compared = await compare(run, self._means.log, wanted, turn=self._means.turn)
        except TooMany:
            done = Pass(under_way.generation, 0, under_way.parts * 2, not_compared=under_way.not_compared)
        else:
            done = await self._done(under_way, compared)
            shown.rows.inc(compared.found.size)
        await run(lambda connection: status.write(connection, place, done))
        seen = await run(lambda connection: status.read(connection, place))
        if seen is not None:
            shown.passed(seen)
        self._say(declared.name, done, known=under_way.differences)

    async def _begun(self, declared: DeclaredProjection) -> Pass:
        run, place = self._means.database.once, (declared.app, declared.name)
        found = await run(lambda connection: status.read(connection, place))
        if found is not None and found.part < found.parts:
            return found
        wanted = Wanted(declared, None, self._means.partitions)
        rows = await run(lambda connection: count(connection, wanted))
        return Pass(0, 0, len(parts_for(rows, RECONCILE_ROWS)), not_compared=found.not_compared if found else ())

    async def _done(self, under_way: Pass, compared: Compared) -> Pass:
        """The pass with one part more; begun anew where another generation is live by now."""
        generation = compared.found.compiled.generation
        if under_way.part and under_way.generation != generation:
            return Pass(generation, 0, under_way.parts)
        number, first = under_way.differences, list(under_way.first)
        for difference in compared.differences:
            if difference is None:
                await self._means.turn()
                continue
            number += 1
            first += [difference.what] * (len(first) < RECONCILE_FIRST)
        rows = under_way.rows + compared.found.size
        return Pass(generation, under_way.part + 1, under_way.parts, rows, number, first, compared.not_compared)

    def _say(self, projection: str, done: Pass, *, known: int) -> None:
        if done.differences > known:
            logger.error(
                "tables are not as the journal says: `bennu reconcile` lists all that differs",
                projection=projection,
                generation=done.generation,
                differences=done.differences,
                first=list(done.first),
            )
            self._found[projection] = list(done.first)
        elif done.part == done.parts and not done.differences:
            self._found.pop(projection, None)
        self._left_out.pop(projection, None)
        if done.not_compared:
            self._left_out[projection] = list(done.not_compared)
        if (
            self._found or self._left_out or self._is_shown
        ):  # beside readiness: what is wrong is no reason to send nobody here
            self._is_shown = True
            self._readiness.met(READY)
            self._readiness.show(READY, {"differences": self._found, "not_compared": self._left_out})
