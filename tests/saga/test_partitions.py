"""The number of partitions is fixed when journals are created: a Saga that is told another one stops and says so."""

import asyncio
from pathlib import Path

import pytest

import bennu.log
from bennu.ops.run import EXIT_BAD_SETTINGS
from bennu.stack.service import clean_environ
from tests.journal_writer import JournalWriter
from tests.service_process import Service

TOPIC = "bank-saga-0"


async def told(directory: Path, partitions: int) -> str:
    """The last words of a Saga of so many partitions that meets the journal of one of two."""
    url = f"sqlite:{directory / 'log'}"
    async with bennu.log.open(url) as log:
        await log.create(TOPIC)
        await JournalWriter(log, TOPIC, partitions=2).epoch()
    flags = ["--app", "bank.app:app", "--log", url, "--partitions", str(partitions)]
    saga = Service("saga", flags, directory=directory, environ=clean_environ())
    try:
        await saga.start()
        assert await asyncio.to_thread(saga.wait) == EXIT_BAD_SETTINGS
    finally:
        saga.kill()
    return saga.lines()[-1]


@pytest.mark.parametrize("partitions", [1, 3])
def test_another_number_of_partitions_is_refused(tmp_path: Path, partitions: int) -> None:
    """Fewer or more: exit 78, with both numbers and what to say instead, and nothing is made."""
    said = asyncio.run(told(tmp_path, partitions))
    assert f"{TOPIC}: the app has 2 partitions, but this process was told {partitions}; " in said
    assert "say --partitions 2" in said
    assert [path.name for path in (tmp_path / "log").glob("*.sqlite")] == [f"{TOPIC}.sqlite"]
