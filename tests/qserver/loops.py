"""Projection loops inside the test, over any log and a real Postgres; of the bank's ledger if nothing is said."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from random import Random

import pytest

from bank.account import AccountRules
from bank.app import app
from bank.projections import Ledger
from bank.screening import ScreeningRules
from bank.transfer import TransferRules
from bennu.domain import App, Projection
from bennu.errors import Final
from bennu.log.port import Log
from bennu.ops.metrics import Metrics
from bennu.ops.readiness import Readiness
from bennu.replica.journal import FORMAT_VERSION, encode
from bennu.v1.journal_pb2 import EpochStart
from bennu_qserver import schema
from bennu_qserver.database import Connection, open_database
from bennu_qserver.dispatch import DeclaredProjection, compile_projections
from bennu_qserver.migration import migrate
from bennu_qserver.projection_loop import Outside, Partition, ProjectionLoop
from bennu_qserver.status import Board
from tests.journal_writer import JournalWriter
from tests.qserver.serving import TIMEOUT_S


def bank_with(*projections: type[Projection]) -> App:
    """The bank, shown by other projections."""
    return App(
        "bank", service=app.service, aggregates=(AccountRules, TransferRules, ScreeningRules), projections=projections
    )


LEDGER = bank_with(Ledger)


async def make_first(connection: Connection, projection: DeclaredProjection) -> None:
    """The first generation, with its views."""
    await schema.begin(connection, projection)
    await schema.create_tables(connection, projection.in_generation(1), views=True)


@asynccontextmanager
async def looping(log: Log, dsn: str, *, app: App = LEDGER, partitions: int = 1) -> AsyncIterator[None]:
    """One loop a projection and partition runs inside the block; an error of one ends the block."""
    declared = compile_projections(app)
    projections = [projection.in_generation(1) for projection in declared]
    await migrate(dsn)
    metrics, readiness = Metrics(), Readiness()
    async with open_database(dsn, name="test", metrics=metrics, readiness=readiness) as database:
        for projection in declared:
            await database.run(partial(make_first, projection=projection))
        outside = Outside(log, database, Board(readiness))
        loops = [
            ProjectionLoop(
                projection,
                Partition(number, partitions, projection.topic(number)),
                outside=outside,
                metrics=metrics,
            )
            for projection in projections
            for number in range(partitions)
        ]
        async with asyncio.TaskGroup() as group:
            tasks: Sequence[asyncio.Task[object]] = [group.create_task(loop.run()) for loop in loops]
            yield
            for task in tasks:
                task.cancel()


async def stopped_by(log: Log, dsn: str, *, app: App = LEDGER, partitions: int = 1) -> Final:
    """The error that ends the loops."""
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(TIMEOUT_S), looping(log, dsn, app=app, partitions=partitions):
            await asyncio.Event().wait()
    error: Exception = caught.value
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Final)
    return error


async def write_noise(writer: JournalWriter, random: Random, *, last: bytes) -> None:
    """What a deposed or repeated sender leaves behind: void and duplicate records."""
    position = writer.position
    for _ in range(random.randrange(3)):
        await writer.append(last)
    if random.random() < 0.5:
        again = EpochStart(format_version=FORMAT_VERSION, epoch=random.randrange(1, position.epoch + 1), term=7)
        await writer.append(encode(again))
