"""QServer as a process: a random history in two partitions becomes tables in a real Postgres."""

import asyncio
from pathlib import Path

import pytest

from tests.qserver.serving import bank_world, qserver, started

pytestmark = pytest.mark.real


async def projected(directory: Path, dsn: str) -> None:
    """The scenario of the first test."""
    async with bank_world(directory, dsn, seed=1, partitions=2) as world:
        service = qserver(directory, dsn, partitions=2)
        async with started(service):
            await world.write(100)
            await world.shown()
            assert await asyncio.to_thread(service.stop) == 0


def test_the_tables_show_the_journals(tmp_path: Path, database: str) -> None:
    """What QServer shows of a history is what two folds, written apart from it, make of the same history."""
    asyncio.run(projected(tmp_path, database))
