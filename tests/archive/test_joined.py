"""The archive and the log, read as one, keep every promise of a log."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from bennu.archive.folder import OPEN, SEALED, Archive, file_name
from bennu.archive.joined import JoinedLog
from bennu.errors import BadSettings, OffsetGone, RecordBroken
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.log.port import Log, Record
from bennu.ops.logs import open_log
from bennu.ops.settings import load
from bennu_saga.settings import SagaSettings
from tests.archive.files import TOPIC, archive, record, records, segment_file
from tests.log.conformance import LogConformance, Rig
from tests.log.helpers import bodies, fails, run, take
from tests.log.test_memory import MemoryRig

END = 12


class JoinedRig(MemoryRig):
    """The log in memory behind an archive, which has what expires but for the first records of all."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Log]:
        async with super().open() as log:
            yield JoinedLog(log, Archive(self.root))

    async def expire_before(self, log: Log, topic: str, *, offset: int) -> int:
        found = await bodies(log, topic)
        kept = offset // 2
        chunks = [[Record(at, found[at])] for at in range(offset)]
        archive(self.root, chunks, segment_bytes=1, topic=topic)
        for lost in range(kept):
            (self.root / topic / file_name(lost, SEALED)).unlink()
        return await super().expire_before(log, topic, offset=offset) and kept


class TestJoined(LogConformance):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Rig:
        return JoinedRig(tmp_path)


class Joint:
    """A log that keeps the records from `kept` to before `END`, behind an archive."""

    def __init__(self, found: Archive, kept: int) -> None:
        self.broker = MemoryBroker()
        self.broker.create(TOPIC)
        for one in records(0, END):
            self.broker.topic(TOPIC).land(one.body)
        self.broker.expire_before(TOPIC, kept)
        self.log = JoinedLog(MemoryLog(self.broker), found)


def test_reading_crosses_from_archive_to_log_at_every_offset(tmp_path: Path) -> None:
    """Wherever the log begins, the archive ends and the reader starts, it gets each record once, in order."""
    for archived in range(1, END + 1):
        found = archive(tmp_path / f"{archived}", [[one] for one in records(0, archived)], segment_bytes=150)
        for kept in range(archived + 1):
            joint = Joint(found, kept)

            async def body(joint: Joint = joint) -> None:
                assert await joint.log.bounds(TOPIC) == (0, END)
                for start in range(END):
                    assert await take(joint.log, TOPIC, start=start, count=END - start) == records(start, END)

            run(body())


def test_what_expires_under_a_reader_comes_from_the_archive(tmp_path: Path) -> None:
    """A reader that is overtaken by expiry goes on in the archive, and then in the log again."""
    joint = Joint(archive(tmp_path, [records(0, 9)]), 0)

    async def body() -> None:
        reading = joint.log.read(TOPIC, 0)
        assert (await anext(reading))[-1].offset == END - 1
        for one in records(END, END + 600):
            joint.broker.topic(TOPIC).land(one.body)
        got = await anext(reading)
        archive(tmp_path, [records(9, END + 550)])
        joint.broker.expire_before(TOPIC, END + 540)
        while got[-1].offset < END + 599:
            following = await anext(reading)
            assert following[0].offset == got[-1].offset + 1
            got = following
        await reading.aclose()

    run(body())


def test_a_service_that_is_told_of_an_archive_reads_it(tmp_path: Path) -> None:
    """What a service opens as its log gives what only the archive has, from the folder that its settings name."""
    archive(tmp_path / "archive", [records(0, 5)])
    url = f"sqlite:{tmp_path / 'log'}"
    flags = ["--app", "bank.app:app", "--log", url, "--archive", str(tmp_path / "archive")]

    async def body() -> None:
        async with open_log(load(SagaSettings, flags, {})) as log:
            await log.create(TOPIC)
            for one in records(0, END):
                await log.append(TOPIC, one.body)
            with closing(sqlite3.connect(tmp_path / "log" / f"{TOPIC}.sqlite", isolation_level=None)) as file:
                file.execute("DELETE FROM record WHERE offset < 5")
            assert await log.bounds(TOPIC) == (0, END)
            assert await take(log, TOPIC, start=0, count=END) == records(0, END)

    run(body())


@pytest.mark.parametrize("start", [0, 4, 5, 6])
def test_a_gap_between_archive_and_log_names_both(tmp_path: Path, start: int) -> None:
    """What neither has is an error with the bounds of both, before which a reader gets all that the archive has."""
    joint = Joint(archive(tmp_path, [records(0, 5)]), 7)

    async def body() -> None:
        assert await joint.log.bounds(TOPIC) == (7, END)
        problem = await fails(OffsetGone, joint.log, topic=TOPIC, offset=start)
        assert f"offset {max(start, 5)} is gone, the first one kept is 7" in str(problem)
        assert "has offsets 0 to 4" in str(problem)
        assert await take(joint.log, TOPIC, start=7, count=1) == [record(7)]

    run(body())


def test_an_archive_of_another_history_is_refused(tmp_path: Path) -> None:
    """Where both have the record at the joint, it must be the same."""
    joint = Joint(archive(tmp_path, [[*records(0, 5), record(5)._replace(body=b"another")]]), 3)

    async def body() -> None:
        problem = await fails(BadSettings, joint.log, topic=TOPIC, offset=0)
        assert f"{TOPIC}: the record at offset 5 is another one" in str(problem)

    run(body())


def test_a_broken_segment_stops_the_reader(tmp_path: Path) -> None:
    """A broken record is never passed over, also not by taking the log's."""
    joint = Joint(archive(tmp_path, [records(0, 5)]), 5)
    path = segment_file(tmp_path, OPEN)
    path.write_bytes(path.read_bytes().replace(b"record 3", b"record X"))

    async def body() -> None:
        problem = await fails(RecordBroken, joint.log, topic=TOPIC, offset=0)
        assert f"{path}, offset 3" in str(problem)

    run(body())
