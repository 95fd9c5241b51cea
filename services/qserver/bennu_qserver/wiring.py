"""Puts QServer together: the app's projections, its journals, the database, one loop a projection and partition."""

import asyncio
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
from bennu_qserver import positions, schema, status
from bennu_qserver.database import READY as POSTGRES
from bennu_qserver.database import Connection, Database, open_database
from bennu_qserver.dispatch import SAGAS, CompiledProjection, compile_projections
from bennu_qserver.limits import LAG_SAMPLE_S, STOP_S
from bennu_qserver.projection_loop import Outside, Partition, ProjectionLoop
from bennu_qserver.settings import QServerSettings
from bennu_qserver.status import Board

LOG = "log"


async def main(settings: QServerSettings, running: Running) -> None:
    """QServer, from start to the request to stop."""
    running.readiness.declare(LOG, POSTGRES, status.READY)
    projections = compile_projections(load_app(settings.app))
    dsn = settings.postgres.get_secret_value()
    async with (
        open_log(settings) as log,
        open_database(dsn, name=settings.node, metrics=running.metrics, readiness=running.readiness) as database,
        asyncio.TaskGroup() as group,
    ):
        settle()
        running.announce()
        work = group.create_task(_work(settings, running, projections=projections, log=log, database=database))
        await running.stop.wait()
        work.cancel()  # a transaction under way is rolled back, and its events are read again
        await asyncio.wait({work}, timeout=STOP_S)
        database.terminate()


async def _work(
    settings: QServerSettings,
    running: Running,
    *,
    projections: Sequence[CompiledProjection],
    log: Log,
    database: Database,
) -> None:
    count = settings.partitions
    await _prepare(settings, database, projections=projections)
    checked = partial(partition_count.check, log, projections[0].app, count)
    await _wait_for_log(checked, readiness=running.readiness)
    for projection in projections:  # those of events come first: who makes them knows how many there are
        ask = log.create if settings.log_is_embedded and projection.journal == SAGAS else log.bounds
        for number in range(count):
            await _wait_for_log(partial(ask, projection.topic(number)), readiness=running.readiness)
    outside = Outside(log, database, Board(running.readiness))
    loops = [
        ProjectionLoop(
            projection,
            Partition(number, count, projection.topic(number)),
            outside=outside,
            metrics=running.metrics,
        )
        for projection in projections
        for number in range(count)
    ]
    async with asyncio.TaskGroup() as group:
        for loop in loops:
            group.create_task(loop.run(), name=str(loop.place))
        group.create_task(database.watch())
        group.create_task(_sample(log, loops, readiness=running.readiness))


async def _prepare(settings: QServerSettings, database: Database, *, projections: Sequence[CompiledProjection]) -> None:
    """Bennu's tables, then the declared ones."""
    if not await database.run(schema.is_migrated):
        from bennu_qserver.migration import migrate

        await database.persist(lambda: migrate(settings.postgres.get_secret_value()))

    async def create(connection: Connection) -> None:
        await positions.check_partitions(connection, projections[0].app, partitions=settings.partitions)
        await schema.create_tables(connection, projections)

    await database.run(create)


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


async def _sample(log: Log, loops: Sequence[ProjectionLoop], *, readiness: Readiness) -> None:
    """Keep the lags, and the condition of the log, up to date.  Raises `TopicMissing`."""
    while True:
        for topic in dict.fromkeys(loop.topic for loop in loops):
            try:
                _, tail = await log.bounds(topic)
            except Unavailable as problem:
                readiness.unmet(LOG, str(problem))
                break
            for loop in loops:
                if loop.topic == topic:
                    loop.sample(tail)
        else:
            readiness.met(LOG)
        await asyncio.sleep(LAG_SAMPLE_S)
