"""Puts QServer together: the app's projections, its journals, the database, and who runs which loop."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from bennu.errors import TopicMissing, Unavailable
from bennu.log.port import Log
from bennu.ops import partition_count
from bennu.ops.apps import load_app
from bennu.ops.interpreter import settle
from bennu.ops.logs import open_log
from bennu.ops.patience import Patience
from bennu.ops.readiness import Readiness
from bennu.ops.run import Running
from bennu_qserver import positions, readers, schema, status
from bennu_qserver.database import READY as POSTGRES
from bennu_qserver.database import Database, open_database
from bennu_qserver.dispatch import SAGAS, DeclaredProjection, compile_projections
from bennu_qserver.freshness import Freshness
from bennu_qserver.generations import Worker
from bennu_qserver.lag import Lag
from bennu_qserver.limits import BUILDING_CHANGES, LAG_SAMPLE_S, POOL_CONNECTIONS, STOP_S
from bennu_qserver.manager import Manager, Means
from bennu_qserver.positions import Place
from bennu_qserver.projection_loop import Outside
from bennu_qserver.reconcile import background
from bennu_qserver.reconcile.background import Background, Share
from bennu_qserver.settings import QServerSettings
from bennu_qserver.status import Board

LOG = "log"


async def main(settings: QServerSettings, running: Running) -> None:
    """QServer, from start to the request to stop."""
    running.readiness.declare(LOG, POSTGRES, status.READY)
    projections = compile_projections(load_app(settings.app))
    dsn = settings.postgres.get_secret_value()
    opened = open_database(dsn, name=settings.node, metrics=running.metrics, readiness=running.readiness)
    async with open_log(settings) as log, opened as live, asyncio.TaskGroup() as group:
        settle()
        running.announce()
        means = Means(
            Outside(log, live, Board(running.readiness)),
            Outside(log, live.beside(connections=POOL_CONNECTIONS), Board(Readiness()), most_changes=BUILDING_CHANGES),
            live.beside(connections=1),
            running.metrics,
        )
        work = group.create_task(_work(settings, running, projections=projections, means=means))
        await running.stop.wait()
        work.cancel()  # a transaction under way is rolled back, and its events are read again
        await asyncio.wait({work}, timeout=STOP_S)
        live.terminate()


async def _work(
    settings: QServerSettings, running: Running, *, projections: Sequence[DeclaredProjection], means: Means
) -> None:
    app, count, log = projections[0].app, settings.partitions, means.live.log
    declarations = {projection.name: projection.declaration for projection in projections}
    worker = Worker(app, settings.node, secrets.randbits(63), declarations)
    manager = Manager(worker, projections, partitions=count, means=means)
    await _migrate(settings, means.live.database, app=app)
    await manager.begin()
    await means.live.database.run(partial(readers.grant, app=app))
    await _wait_for_log(partial(partition_count.check, log, app, count), readiness=running.readiness)
    for projection in projections:  # those of events come first: who makes them knows how many there are
        ask = log.create if settings.log_is_embedded and projection.journal == SAGAS else log.bounds
        for number in range(count):
            await _wait_for_log(partial(ask, f"{app}-{projection.journal}-{number}"), readiness=running.readiness)
    async with asyncio.TaskGroup() as group:
        freshness = Freshness(settings.node, means.live.board)
        group.create_task(manager.run())
        group.create_task(means.life.watch())
        group.create_task(freshness.write_always(means.live.database))
        if settings.reconcile_cpu_percent:
            turn = Share(settings.reconcile_cpu_percent, manager.give_way)
            work = background.Means(log, means.others.database, count, turn, running.metrics)
            group.create_task(Background(lambda: manager.shown, work, running.readiness).run())
        group.create_task(_sample(log, manager, freshness, readiness=running.readiness))


async def _migrate(settings: QServerSettings, database: Database, *, app: str) -> None:
    """Bennu's own tables, as this version has them, and of so many partitions."""
    if not await database.run(schema.is_migrated):
        from bennu_qserver.migration import migrate

        await database.persist(lambda: migrate(settings.postgres.get_secret_value()))
    await database.run(lambda connection: positions.check_partitions(connection, app, partitions=settings.partitions))


async def _wait_for_log(ask: Callable[[], Awaitable[object]], *, readiness: Readiness) -> None:
    """Return when it answers, and has what is asked for: whoever starts first waits for the one who makes it."""
    patience = Patience("the log")
    while True:
        try:
            await ask()
        except (TopicMissing, Unavailable) as problem:
            readiness.unmet(LOG, str(problem))
            await patience.wait(problem)
        else:
            readiness.met(LOG)
            return


async def _sample(log: Log, manager: Manager, freshness: Freshness, *, readiness: Readiness) -> None:
    """Keep the lags, and the condition of the log, up to date.  Raises `TopicMissing`."""
    while True:
        loops, lags = manager.loops, dict[Place, Lag]()
        for topic in dict.fromkeys(loop.topic for loop in loops):
            try:
                _, tail = await log.bounds(topic)
            except Unavailable as problem:
                readiness.unmet(LOG, str(problem))
                freshness.sampled({})  # it can't be said, and what was said before grows old
                break
            lags |= {loop.place: loop.sample(tail) for loop in loops if loop.topic == topic and loop.projects}
        else:
            readiness.met(LOG)
            freshness.sampled(lags)
        await asyncio.sleep(LAG_SAMPLE_S)
