"""A real Saga process whose RocketMQ is not there: it says so, waits, and can be stopped."""

import asyncio
import json
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from bennu.stack.ports import free_port
from bennu.stack.service import clean_environ
from tests.service_process import Service

PATIENCE_S = 60


def nobody(directory: Path) -> Service:
    """A Saga that is told of ports where nobody listens."""
    log = f"rocketmq://127.0.0.1:{free_port()}?namesrv=127.0.0.1:{free_port()}"
    environ = clean_environ()
    return Service("saga", ["--app", "bank.app:app", "--log", log], directory=directory, environ=environ)


def readiness(address: str) -> dict[str, object]:
    """What a service that is not ready says."""
    with pytest.raises(HTTPError) as caught:
        urlopen(f"http://{address}/readyz", timeout=10)
    with caught.value as answer:
        assert answer.code == 503
        found: dict[str, object] = json.loads(answer.read())
        return found


async def waits(directory: Path) -> None:
    """The scenario."""
    saga = nobody(directory)
    try:
        await saga.start()
        async with asyncio.timeout(PATIENCE_S):
            while not any("waiting for the log" in line for line in saga.lines()):  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.05)
        assert (await asyncio.to_thread(readiness, saga.announced["ops"]))["ready"] is False
        assert await asyncio.to_thread(saga.stop) == 0
    finally:
        saga.kill()


def test_a_log_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    """Not ready, with a line in the log; SIGTERM ends the wait with exit code 0."""
    asyncio.run(waits(tmp_path))
