"""A real RocketMQ and a real Postgres for any test, booted once for the whole run.

    def test_something(rocketmq: RocketMQ, database: str) -> None:
        asyncio.run(use(rocketmq.log_url, database))

Killing and starting parts blocks (`rocketmq.broker.kill()`); inside a loop use `asyncio.to_thread`.  Whoever
kills a part starts it again before the test ends.
"""

import asyncio
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest

from bennu.stack.postgres import Postgres
from bennu.stack.rocketmq import RocketMQ

_serial = count(1)


@pytest.fixture(scope="session")
def rocketmq() -> Iterator[RocketMQ]:
    """Name server, broker and proxy, shared: use a topic of your own."""
    with (
        TemporaryDirectory(prefix="bennu-rocketmq-", ignore_cleanup_errors=True) as folder,
        RocketMQ(Path(folder)) as mq,
    ):
        yield mq


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server, shared: use a database of your own."""
    with TemporaryDirectory(prefix="bennu-postgres-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # for root: Postgres runs as another user, who must get through
        with Postgres(folder) as pg:
            yield pg


@pytest.fixture
def database(postgres: Postgres) -> str:
    """The DSN of a fresh, empty database."""
    name = f"test_{next(_serial)}"
    asyncio.run(_create(postgres.dsn, name))
    return postgres.dsn.removesuffix("/postgres") + f"/{name}"


async def _create(dsn: str, name: str) -> None:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        await connection.execute(f"CREATE DATABASE {name} STRATEGY file_copy")
    finally:
        await connection.close()
