"""Runs the loops that are this process's share, and no others, as rows in Postgres say.

    once a second: say that we live, see all → our share → stop and start loops → carry out a wish

Every process places partitions on the same processes.  Where two overlap for a moment, positions decide.
"""

import asyncio
import random
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple, NoReturn

import structlog

from bennu.errors import BadSettings, Final, OffsetGone
from bennu.ops.generations import LIVE
from bennu.ops.metrics import Metrics
from bennu_qserver import generations, schema
from bennu_qserver.chores import Chores
from bennu_qserver.database import Connection, Database
from bennu_qserver.dispatch import CompiledProjection, DeclaredProjection
from bennu_qserver.errors import GenerationGone, TablesDiffer
from bennu_qserver.generations import Generation, Key, Seen, Worker
from bennu_qserver.limits import LOOK_S, STOP_S
from bennu_qserver.pace import Pace
from bennu_qserver.positions import Place
from bennu_qserver.projection_loop import Outside, Partition, ProjectionLoop
from bennu_qserver.shares import Share, changed, share_of
from bennu_qserver.upkeep import Upkeep

logger = structlog.get_logger()


@dataclass(frozen=True)
class Means:
    """What loops work with: live ones, and the others, which have connections of their own and give way."""

    live: Outside
    others: Outside
    life: Database
    """A connection of its own: while all others wait for a lock, this process still says that it lives."""
    metrics: Metrics


class Running(NamedTuple):
    """A loop at work."""

    loop: ProjectionLoop
    task: asyncio.Task[None]
    is_live: bool


class Manager:
    """One process's loops."""

    def __init__(
        self, worker: Worker, projections: Sequence[DeclaredProjection], *, partitions: int, means: Means
    ) -> None:
        self._worker = worker
        self._projections = {projection.name: projection for projection in projections}
        self._partitions = partitions
        self.give_way = Pace(self._waits_s).give_way
        self._means = replace(means, others=replace(means.others, give_way=self.give_way))
        self._running: dict[Place, Running] = {}
        self._prepared: dict[Key, CompiledProjection | None] = {}
        """None: its tables are not as they must be."""
        self._failed: set[Place] = set()
        self._others_seen: datetime | None = None
        self._looks = 0
        self.shown: Sequence[DeclaredProjection] = ()
        """Those whose live generation this process leads, and can project."""
        self._chores = Chores(means.others.database, self._compiled)
        self._upkeep = Upkeep(means.others.database, self._compiled)

    @property
    def loops(self) -> list[ProjectionLoop]:
        """Those that run now."""
        return [running.loop for running in self._running.values()]

    def _waits_s(self) -> Iterator[float]:
        return (running.loop.waits_s for running in self._running.values() if running.is_live)

    async def begin(self) -> None:
        """Make what is live, before anything is known of the journals."""
        database = self._means.live.database
        for projection in self._projections.values():

            async def begin(connection: Connection, projection: DeclaredProjection = projection) -> None:
                await schema.begin(connection, projection)

            await database.run(begin)
        await database.run(lambda connection: generations.forget(connection, self._worker.app))
        app = self._worker.app
        paused = await database.run(lambda connection: generations.paused(connection, app))
        for generation in await database.run(lambda connection: generations.kept(connection, app)):
            if generation.state == LIVE and generation.key.projection not in paused:  # whoever pauses may hold locks
                await self._prepare(generation)

    async def run(self) -> NoReturn:
        """For ever.  Raises the `Final` errors of live loops, and `BadSettings` for a second process of one name."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    seen = await self._means.life.run(lambda connection: generations.look(connection, self._worker))
                    if self._is_of_use(seen):
                        await self._follow(seen, group)
                    await asyncio.sleep(LOOK_S * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, not a secret
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await self._means.life.run(lambda connection: generations.leave(connection, self._worker))

    def _is_of_use(self, seen: Seen) -> bool:
        """Whether to act on it.  Raises `BadSettings` when another process of this name goes on living."""
        if not seen.mine:
            if self._others_seen not in (None, seen.seen_before):
                raise BadSettings(
                    f"--node {self._worker.node}: another QServer of app `{self._worker.app}` has this name and lives; "
                    "give each its own"
                )
            self._others_seen = seen.seen_before
            return False
        self._others_seen = None
        self._looks += 1
        # Who joins lets the others see it first, so that they have stopped what it starts; who was away looks again,
        # also where it seems to be alone: the others may have been away as long.
        return not seen.was_away and (self._looks > 1 or len(seen.workers) == 1)

    # --- what there is to do

    async def _follow(self, seen: Seen, group: asyncio.TaskGroup) -> None:
        self._forget_others({generation.key for generation in seen.generations})
        share = share_of(self._worker.node, seen, partitions=self._partitions)
        wanted = await self._wanted(share)
        await self._stop(
            [
                place
                for place, running in self._running.items()
                if wanted.get(place) != running.is_live or running.task.done()
            ]
        )
        for place, is_live in wanted.items():
            if place not in self._running:
                self._start(place, group, is_live=is_live)
                await self._clear(share.loops[place], f"partition {place.partition}: ")
        self._means.live.board.wait(self._reasons(seen))
        self._chores.tend(share.leads, group)
        self._upkeep.tend([each for each in share.leads if each.key.projection not in seen.paused], group)
        self.shown = [self._projections[each.key.projection] for each in share.leads if self._is_shown(each, seen)]

    def _forget_others(self, kept: Collection[Key]) -> None:
        """A number may come again, after a failover to a server that never heard of it."""
        self._prepared = {key: compiled for key, compiled in self._prepared.items() if key in kept}
        self._failed = {place for place in self._failed if place.key in kept}

    def _is_shown(self, generation: Generation, seen: Seen) -> bool:
        is_paused = generation.key.projection in seen.paused
        return generation.state == LIVE and not is_paused and self._compiled(generation.key) is not None

    async def _wanted(self, share: Share) -> dict[Place, bool]:
        """The loops that can run, and whether each is live."""
        wanted: dict[Place, bool] = {}
        for place, generation in share.loops.items():
            if generation.key not in self._prepared:
                await self._prepare(generation)
            is_live = generation.state == LIVE
            if self._compiled(generation.key) is not None and (is_live or place not in self._failed):
                wanted[place] = is_live
        return wanted

    def _reasons(self, seen: Seen) -> list[str]:
        told = changed(list(self._projections.values()), seen)
        for generation in seen.generations:
            if generation.state == LIVE and generation.key in self._prepared and generation.problem:
                told.append(f"{generation.key}: {generation.problem}")
        return told

    def _compiled(self, key: Key) -> CompiledProjection | None:
        return self._prepared.get(key)

    async def _prepare(self, generation: Generation) -> None:
        """Make its tables, if it is one of this build's; a problem goes into its row."""
        key, declared = generation.key, self._projections.get(generation.key.projection)
        if declared is None or declared.declaration != generation.declaration:
            return
        compiled = declared.in_generation(key.number)
        self._prepared[key] = None
        try:
            await self._means.others.database.run(
                lambda connection: schema.create_tables(connection, compiled, views=generation.state == LIVE)
            )
        except GenerationGone:
            return
        except TablesDiffer as problem:
            advice = f"`bennu projections rebuild {key.projection}` makes them anew from the journal"
            await self._tell(key, f"tables: {problem}.  {advice}")
            return
        except Final as problem:
            if generation.state == LIVE:
                raise
            await self._tell(key, f"tables: {problem}")
            return
        self._prepared[key] = compiled
        await self._clear(generation, "tables: ")

    # --- loops

    def _start(self, place: Place, group: asyncio.TaskGroup, *, is_live: bool) -> None:
        compiled = self._compiled(place.key)
        assert compiled is not None, "only what is prepared is wanted"
        partition = Partition(place.partition, self._partitions, compiled.topic(place.partition))
        outside = self._means.live if is_live else self._means.others
        loop = ProjectionLoop(compiled, partition, outside=outside, metrics=self._means.metrics)
        task = group.create_task(self._run(loop, is_live=is_live), name=str(place))
        self._running[place] = Running(loop, task, is_live)

    async def _run(self, loop: ProjectionLoop, *, is_live: bool) -> None:
        try:
            await loop.run()
        except* GenerationGone as gone:
            logger.info("a generation is gone", reason=str(gone.exceptions[0]))
        except* Exception as problems:  # whatever the rules of a generation that nobody reads raise
            if is_live:
                raise
            await self._fail(loop.place, first_of(problems))

    async def _fail(self, place: Place, problem: BaseException) -> None:
        """One that is not live must not stop those that are."""
        self._failed.add(place)
        hint = (
            "; --archive names the folder that has what the log no longer keeps: start QServer with it"
            if isinstance(problem, OffsetGone)
            else "; it is tried again when QServer starts"
        )
        logger.error("a generation does not go on", place=str(place), problem=str(problem))
        await self._tell(place.key, f"partition {place.partition}: {problem}{hint}")

    async def _stop(self, places: Collection[Place]) -> None:
        """Cancel them; what hangs is left behind, since its transaction can't move a position that has moved."""
        stopped = [self._running.pop(place) for place in places]
        for place, running in zip(places, stopped, strict=True):
            running.task.cancel()
            self._means.live.board.remove(place)
        if stopped:
            await asyncio.wait([running.task for running in stopped], timeout=STOP_S)
        for running in stopped:
            running.loop.stopped()

    # --- what stands in rows

    async def _tell(self, key: Key, problem: str | None) -> None:
        await self._means.others.database.run(lambda connection: generations.tell(connection, key, problem))

    async def _clear(self, generation: Generation, kind: str) -> None:
        if (generation.problem or "").startswith(kind):
            await self._tell(generation.key, None)


def first_of(problems: BaseException) -> BaseException:
    """The first error in a group, however deep."""
    while isinstance(problems, BaseExceptionGroup):
        problems = problems.exceptions[0]
    return problems
