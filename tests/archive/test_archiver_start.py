"""An archiver that starts while its disk, or its log, is in trouble."""

import asyncio
from pathlib import Path
from threading import Event

import pytest

from bennu.archive import copier
from bennu.archive.writer import TopicWriter
from bennu.errors import Unavailable
from bennu.log.memory import MemoryBroker, MemoryLog
from tests.archive.archiving import Archiving, archiving
from tests.archive.bank import COMMANDS
from tests.archive.files import archive, records
from tests.log.helpers import run


def test_who_is_told_to_stop_while_its_disk_fails_at_the_start_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for the disk, and hears that it is to stop."""

    async def body() -> None:
        work, tried = Archiving(tmp_path, MemoryLog(MemoryBroker()), [COMMANDS]), Event()

        def fails(*_: object) -> None:
            tried.set()
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr(TopicWriter, "open", fails)
        working = asyncio.create_task(work.run())
        await asyncio.to_thread(tried.wait)
        work.stop.set()
        await working

    run(body())


def test_a_log_that_is_away_has_not_lost_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that has just started may say less for a moment, and then nothing for a while."""
    monkeypatch.setattr(copier, "TAIL_LOST_AFTER_MS", 500)

    async def body() -> None:
        log = Flapping(MemoryBroker())
        await log.create(COMMANDS)
        for one in records(0, 3):
            await log.append(COMMANDS, one.body)
        archive(tmp_path, [records(0, 3)])
        async with archiving(tmp_path, log, [COMMANDS]) as work:
            await work.readiness.wait()

    run(body())


class Flapping(MemoryLog):
    """Short at first, then away for longer than a log may stay short, short once more, and then as it is."""

    asked = 0

    async def bounds(self, topic: str) -> tuple[int, int]:
        self.asked += 1
        if self.asked in (1, 4):
            return 0, 1
        if self.asked <= 3:
            await asyncio.sleep(0.3)
            raise Unavailable(f"{topic}: away")
        return await super().bounds(topic)
