"""How a reader of the embedded log learns that something was written."""

import asyncio
import os
import time
from contextlib import aclosing
from pathlib import Path

import pytest

from bennu.log.sqlite import SqliteLog
from bennu.log.sqlite_watch import Lookout, Watch
from tests.log.helpers import run


@pytest.fixture
def topic(tmp_path: Path) -> Path:
    """A topic's file, with a write-ahead log."""
    path = tmp_path / "t.sqlite"
    path.write_bytes(b"")
    Path(f"{path}-wal").write_bytes(b"before")
    return path


def test_only_what_another_process_wrote_makes_a_reader_look_often(topic: Path) -> None:
    """Of its own process's writes it is told: looking 500 times a second for more of them took 3 % of a core."""

    async def body() -> None:
        watch, wal = Watch("t", topic, Lookout()), Path(f"{topic}-wal")
        watch.mark()
        watch.wake()
        await watch.wait()
        watch.busy()
        assert not watch.is_busy(time.monotonic())
        watch.mark()
        os.utime(wal, (1, 1))
        watch.look()
        await watch.wait()
        watch.mark()  # before it reads, as any reader does
        watch.busy()
        assert watch.is_busy(time.monotonic())

    run(body())


def test_what_was_noticed_once_does_not_count_for_the_next_record(topic: Path) -> None:
    """A reader that was woken by its own process since then need not look more often."""

    async def body() -> None:
        watch, wal = Watch("t", topic, Lookout()), Path(f"{topic}-wal")
        os.utime(wal, (1, 1))
        watch.mark()
        os.utime(wal, (2, 2))
        watch.look()
        await watch.wait()
        watch.mark()
        watch.wake()
        await watch.wait()
        watch.busy()
        assert not watch.is_busy(time.monotonic())

    run(body())


def test_a_reader_of_what_another_process_writes_looks_often(tmp_path: Path) -> None:
    """From the first record on that it was not told of."""
    busy: list[bool] = []

    async def body() -> None:
        here, there = SqliteLog(tmp_path), SqliteLog(tmp_path)
        await here.create("t")
        async with aclosing(here.read("t", 0)) as chunks:
            for _ in range(3):
                chunk = asyncio.ensure_future(anext(chunks))
                while not here._lookout._watches:  # noqa: ASYNC110 - it is told of nothing while it comes to wait
                    await asyncio.sleep(0)
                await there.append("t", b"x")
                await chunk
                busy.extend(watch.is_busy(time.monotonic()) for watch in here._topics["t"].watches)
        await there.close()
        await here.close()

    run(body())
    assert busy == [True] * 3
