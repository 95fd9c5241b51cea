"""The embedded log keeps every log's promises, also between processes, and names what the disk does to it."""

import asyncio
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path

import pytest

from bennu import log as bennu_log
from bennu.errors import AppendRefused, AppendUnknown, OffsetBeyondTail, RecordBroken, TopicMissing
from bennu.log.port import Log
from bennu.log.sqlite import _Worker
from bennu.log.sqlite_file import TopicFile
from bennu.log.sqlite_thread import Call
from tests.log.conformance import LogConformance, Rig
from tests.log.helpers import bodies, expect_unknown, fails, run, take


class SqliteRig:
    """A directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def open(self) -> AbstractAsyncContextManager[Log]:
        return bennu_log.open(f"sqlite:{self.directory}")

    def sql(self, topic: str, statement: str) -> None:
        with closing(sqlite3.connect(self.directory / f"{topic}.sqlite", isolation_level=None)) as connection:
            connection.execute(statement)

    async def expire_before(self, _log: Log, topic: str, *, offset: int) -> int:
        self.sql(topic, f"DELETE FROM record WHERE offset < {offset}")
        return offset

    async def append_unheard(self, log: Log, topic: str, *, record: bytes) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TopicFile, "_insert", _insert_and_fail)
            await expect_unknown(lambda: log.append(topic, record))


_insert = TopicFile._insert


def _insert_and_fail(file: TopicFile, connection: sqlite3.Connection, record: bytes) -> int:
    _insert(file, connection, record)
    raise sqlite3.OperationalError("disk I/O error")


@pytest.fixture
def rig(tmp_path: Path) -> SqliteRig:
    return SqliteRig(tmp_path / "not" / "yet" / "there")


class TestSqlite(LogConformance):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Rig:
        return SqliteRig(tmp_path / "not" / "yet" / "there")


@asynccontextmanager
async def _topic(rig: SqliteRig, *, records: int) -> AsyncIterator[Log]:
    async with rig.open() as log:
        await log.create("t")
        for n in range(records):
            await log.append("t", b"record %d" % n)
        yield log


_WRITER = """
import asyncio, sys
import bennu.log
async def main(directory, name):
    async with bennu.log.open(f"sqlite:{directory}") as log:
        for n in range(200):
            offset = await log.append("t", f"{name} {n}".encode(), timeout_ms=20_000)
            print(offset, name, n, flush=True)
asyncio.run(main(*sys.argv[1:]))
"""


def test_two_processes_write_while_a_third_reads(rig: SqliteRig) -> None:
    """Each process is told the offsets that the reader finds."""

    async def body() -> None:
        async with _topic(rig, records=0) as log:
            reading = asyncio.ensure_future(take(log, "t", start=0, count=400))
            writers = [await _start_writer(rig, name) for name in "ab"]
            told = b"".join([(await writer.communicate())[0] for writer in writers]).decode().splitlines()
            assert [writer.returncode for writer in writers] == [0, 0]
            found = await reading
            assert sorted(told) == sorted(f"{record.offset} {record.body.decode()}" for record in found)

    run(body())


def test_what_a_killed_process_was_told_is_there_once_and_in_order(rig: SqliteRig) -> None:
    """kill -9 loses nothing acknowledged and leaves no lock behind."""

    async def body() -> None:
        async with _topic(rig, records=0) as log:
            writer = await _start_writer(rig, "a")
            assert writer.stdout is not None
            told = [(await writer.stdout.readline()).decode() for _ in range(50)]
            writer.kill()
            told += (await writer.stdout.read()).decode().splitlines()
            await writer.wait()
            found = [body.decode() for body in await bodies(log, "t")]
            assert found == [f"a {n}" for n in range(len(found))]
            assert [line.split(" ", 1)[1].strip() for line in told] == found[: len(told)]
            assert await log.append("t", b"next") == len(found)

    run(body())


async def _start_writer(rig: SqliteRig, name: str) -> asyncio.subprocess.Process:
    root = str(Path(bennu_log.__file__).parents[2])
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", _WRITER, str(rig.directory), name, stdout=asyncio.subprocess.PIPE, cwd=root
    )


def test_a_flipped_bit_is_named_after_the_good_records(rig: SqliteRig) -> None:
    """SQLite checks no content: the record's own checksum does."""

    async def body() -> None:
        async with _topic(rig, records=10) as log:
            rig.sql("t", "UPDATE record SET body = x'00' WHERE offset = 7")
            assert len(await take(log, "t", start=0, count=7)) == 7
            message = str(await fails(RecordBroken, log, topic="t", offset=0))
            assert "7" in message

    run(body())


def test_a_hole_is_named(rig: SqliteRig) -> None:
    """A missing record is never stepped over."""

    async def body() -> None:
        async with _topic(rig, records=10) as log:
            rig.sql("t", "DELETE FROM record WHERE offset = 7")
            assert "7" in str(await fails(RecordBroken, log, topic="t", offset=0))

    run(body())


def test_a_lost_tail_is_noticed_by_a_reader_that_waits(rig: SqliteRig) -> None:
    """A reader further than the end is told so."""

    async def body() -> None:
        async with _topic(rig, records=10) as log:
            at_tail = asyncio.ensure_future(fails(OffsetBeyondTail, log, topic="t", offset=10))
            await asyncio.sleep(0)
            rig.sql("t", "DELETE FROM record WHERE offset >= 8")
            await at_tail

    run(body())


def test_a_file_that_is_no_database_is_named(rig: SqliteRig) -> None:
    """A spoilt file is broken, not empty."""

    async def body() -> None:
        async with _topic(rig, records=0):
            pass
        (rig.directory / "t.sqlite").write_bytes(b"garbage" * 4096)
        async with rig.open() as log:
            await fails(RecordBroken, log, topic="t", offset=0)
            with pytest.raises(AppendRefused):
                await log.append("t", b"x")

    run(body())


def test_who_reads_again_has_the_thread_and_the_connection_of_before(rig: SqliteRig) -> None:
    """A leader looks for others' records whenever it has none: starting a thread for each took the loop's time."""

    async def body() -> None:
        async with _topic(rig, records=3) as log:
            await take(log, "t", start=0, count=3)
            before = threading.enumerate()
            await take(log, "t", start=1, count=2)
            assert threading.enumerate() == before

    run(body())


def test_a_topic_removed_at_run_time_is_missing_and_takes_nothing(rig: SqliteRig) -> None:
    """A file that is in no directory any more takes no records."""

    async def body() -> None:
        async with _topic(rig, records=3) as log:
            at_tail = asyncio.ensure_future(fails(TopicMissing, log, topic="t", offset=3))
            await asyncio.sleep(0)
            for path in rig.directory.glob("t.sqlite*"):
                path.unlink()
            await at_tail
            with pytest.raises(AppendRefused) as refused:
                await log.append("t", b"x")
            assert refused.value.final

    run(body())


def test_a_file_locked_beyond_the_deadline_refuses_and_serves_again(rig: SqliteRig) -> None:
    """A lock not got means nothing was written, and readers do not need it."""

    async def body() -> None:
        async with _topic(rig, records=1) as log:
            with closing(sqlite3.connect(rig.directory / "t.sqlite", isolation_level=None)) as holder:
                holder.execute("BEGIN IMMEDIATE")
                with pytest.raises(AppendRefused) as refused:
                    await log.append("t", b"x", timeout_ms=30)
                assert not refused.value.final
                assert await bodies(log, "t") == [b"record 0"]
            assert await log.append("t", b"y") == 1

    run(body())


def test_a_full_disk_refuses_and_loses_nothing(rig: SqliteRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk refuses what does not fit and takes what does."""

    async def body() -> None:
        async with _topic(rig, records=5) as log:
            pass
        connect = TopicFile._connect

        def small_disk(file: TopicFile) -> sqlite3.Connection:
            connection = connect(file)
            connection.execute("PRAGMA max_page_count=10")
            return connection

        with monkeypatch.context() as patch:
            patch.setattr(TopicFile, "_connect", small_disk)
            async with rig.open() as log:
                with pytest.raises(AppendRefused) as refused:
                    await log.append("t", b"x" * 1_000_000)
                assert not refused.value.final
                assert await log.append("t", b"small") == 5
        async with rig.open() as log:
            assert len(await bodies(log, "t")) == 6

    run(body())


def test_a_disk_that_stalls_makes_the_outcome_unknown(rig: SqliteRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stuck commit is unknown; what waited behind it was not begun."""

    async def body() -> None:
        async with _topic(rig, records=0) as log:
            loop, stall = asyncio.get_running_loop(), asyncio.Event()

            def stalled(file: TopicFile, connection: sqlite3.Connection, record: bytes) -> int:
                asyncio.run_coroutine_threadsafe(stall.wait(), loop).result(timeout=20)
                return _insert(file, connection, record)

            with monkeypatch.context() as patch:
                patch.setattr(TopicFile, "_insert", stalled)
                with pytest.raises(AppendUnknown):
                    await log.append("t", b"stalled", timeout_ms=30)
                with pytest.raises(AppendRefused):
                    await log.append("t", b"behind it, never begun", timeout_ms=30)
                stall.set()
                assert (await take(log, "t", start=0, count=1))[0].body == b"stalled"
            assert await log.append("t", b"next") == 1

    run(body())


def test_a_log_that_cannot_be_opened_is_waited_for(rig: SqliteRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trouble with the disk is no end of the log."""

    async def body() -> None:
        async with _topic(rig, records=1) as log:
            failures = iter([sqlite3.OperationalError("unable to open database file"), OSError("too many open files")])
            connect = TopicFile._connect

            def failing(file: TopicFile) -> sqlite3.Connection:
                for failure in failures:
                    raise failure
                return connect(file)

            monkeypatch.setattr(TopicFile, "_connect", failing)
            assert await take(log, "t", start=0, count=1) == [(0, b"record 0")]

    run(body())


def test_who_is_cancelled_just_as_a_file_is_closed_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a task that reads again and again would go on for ever."""

    async def body() -> None:
        worker = _Worker("t", tmp_path / "t.sqlite")
        task = asyncio.create_task(worker.close())
        begin = worker.thread.begin

        def begun(work: Callable[[], None]) -> Call[None]:
            call = begin(work)
            call.answer.add_done_callback(lambda _: task.cancel())
            return call

        monkeypatch.setattr(worker.thread, "begin", begun)
        await asyncio.wait((task,))
        assert task.cancelled()

    run(body())
