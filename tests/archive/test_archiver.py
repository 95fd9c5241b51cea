"""The archiver copies everything, in an order that could be restored at any moment, and says when it can't."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from bennu.archive.folder import ENDS, Archive
from bennu.archive.verify import verify
from bennu.archive.writer import TopicWriter
from bennu.errors import BadSettings, JournalBroken, OffsetBeyondTail, OffsetGone, RecordBroken
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.log.port import Record
from tests.archive.archiving import Archiving, archived, archiving
from tests.archive.bank import COMMANDS, EVENTS, SAGA, TOPICS, Bank
from tests.archive.files import all_of, archive, records
from tests.log.helpers import run

ALARM, HEADROOM, LAG = "bennu_archive_alarm", "bennu_archive_headroom_records", "bennu_archive_lag_records"


class SlowLog(MemoryLog):
    """Readers of the topics in `held` get nothing until `open` is set."""

    def __init__(self, broker: MemoryBroker, held: Sequence[str]) -> None:
        super().__init__(broker)
        self._held = held
        self.open = asyncio.Event()

    async def read(self, topic: str, offset: int) -> AsyncGenerator[Sequence[Record], None]:
        if topic in self._held:
            await self.open.wait()
        async for chunk in super().read(topic, offset):
            yield chunk


def same(broker: MemoryBroker, found: Archive) -> bool:
    """Whether the archive has exactly what the log has."""
    return all([r.body for r in all_of(found, 0, topic=topic)] == broker.records(topic) for topic in TOPICS)


def contents(root: Path) -> dict[Path, bytes]:
    """Of all files there."""
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def killed_after(append: Callable[[TopicWriter, Sequence[Record]], None]) -> Callable[..., None]:
    """It is done, and nothing after it."""

    def appends(writer: TopicWriter, found: Sequence[Record]) -> None:
        append(writer, found)
        raise RuntimeError("killed")

    return appends


def test_everything_is_archived_also_over_restarts(tmp_path: Path) -> None:
    """An archiver goes on where the archive ends, and what lands meanwhile is archived too."""

    async def body() -> None:
        broker, chance = MemoryBroker(), Random(1)
        bank = Bank(MemoryLog(broker))
        await bank.open()
        for _ in range(3):
            async with archiving(tmp_path, MemoryLog(broker), TOPICS) as work:
                for _ in range(100):
                    await bank.step(chance)
                await work.readiness.wait()
                for topic in TOPICS:
                    await archived(work.archive, topic, len(broker.records(topic)))
        assert same(broker, Archive(tmp_path))
        assert sum(topic.records for topic in verify(Archive(tmp_path))) == 302

    run(body())


def test_an_archive_has_the_causes_of_all_that_it_has_whenever_it_was_killed(tmp_path: Path) -> None:
    """However the topics' copiers interleave and whenever they end, no record refers to one that is not archived."""
    seed = Random().randrange(1 << 32)
    print("seed", seed)

    async def body(chance: Random, root: Path) -> None:
        broker = MemoryBroker()
        bank = Bank(MemoryLog(broker))
        await bank.open()
        while sum(len(broker.records(topic)) for topic in TOPICS) < 150:
            for _ in range(chance.randrange(40)):
                await bank.step(chance)
            work = Archiving(root, SlowLog(broker, chance.sample(TOPICS, chance.randrange(3))), TOPICS)
            working = asyncio.create_task(work.run())
            for _ in range(chance.randrange(6)):
                await bank.step(chance)
                await asyncio.sleep(chance.random() / 200)
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working
            verify(work.archive)
        await Archiving(root, MemoryLog(broker), TOPICS).run(once=True)
        assert same(broker, Archive(root))

    for round_no in range(8):
        run(body(Random(f"{seed}/{round_no}"), tmp_path / f"{round_no}"))


@pytest.mark.parametrize("held", [COMMANDS, SAGA, EVENTS])
def test_a_record_waits_for_its_causes(tmp_path: Path, held: str) -> None:
    """A record is archived only after those of other topics that it refers to."""

    async def body() -> None:
        broker = MemoryBroker()
        log = SlowLog(broker, [held])
        bank = Bank(log)
        await bank.open()
        await bank.events.advance()
        for step in (bank.react, bank.send, bank.hear, bank.take_commands):
            await step()
        async with archiving(tmp_path, log, TOPICS) as work:
            free = {COMMANDS: (2, 2, 0), SAGA: (2, 0, 0), EVENTS: (0, 1, 0)}[held]
            for topic, end in zip((EVENTS, SAGA, COMMANDS), free, strict=True):
                await archived(work.archive, topic, end)
            for _ in range(20):  # turns enough for a copier that does not wait
                await asyncio.sleep(0.005)
            verify(work.archive)
            assert [(work.archive.bounds(topic) or (0, 0))[1] for topic in (EVENTS, SAGA, COMMANDS)] == list(free)
            log.open.set()
            for topic in TOPICS:
                await archived(work.archive, topic, len(broker.records(topic)))
        assert same(broker, work.archive)

    run(body())


def test_expiry_that_has_passed_the_archive_is_an_alarm(tmp_path: Path) -> None:
    """A topic whose records were lost to the archive says so with both offsets, and the other topics go on."""

    async def body() -> None:
        broker = MemoryBroker()
        log = MemoryLog(broker)
        bank = Bank(log)
        await bank.open()
        for _ in range(5):
            await bank.events.advance()
        await Archiving(tmp_path, log, TOPICS).run(once=True)
        for _ in range(5):
            await bank.events.advance()
        broker.expire_before(EVENTS, 9)
        work = Archiving(tmp_path, log, TOPICS)
        working = asyncio.create_task(work.run())
        await bank.saga.advance()
        await archived(work.archive, SAGA, 2)
        assert work.metric(ALARM, EVENTS) == 1
        assert work.metric(ALARM, SAGA) == 0
        assert not work.readiness.ready
        assert "archived up to offset 6, but the first one that the log keeps is 9" in work.reason(EVENTS)
        work.stop.set()
        with pytest.raises(OffsetGone, match=f"{EVENTS}: archived up to offset 6"):
            await working

    run(body())


def test_expiry_is_noticed_also_while_nothing_can_be_read(tmp_path: Path) -> None:
    """Lag and headroom are looked at beside the copying, and an alarm does not wait for the next record."""

    async def body() -> None:
        broker = MemoryBroker()
        bank = Bank(MemoryLog(broker))
        await bank.open()
        await bank.events.advance()
        work = Archiving(tmp_path, SlowLog(broker, [EVENTS]), TOPICS)
        working = asyncio.create_task(work.run())
        while work.metric(LAG, EVENTS) != 2:  # noqa: ASYNC110  another task looks
            await asyncio.sleep(0.005)
        assert (work.metric(HEADROOM, EVENTS), work.metric(ALARM, EVENTS)) == (0, 0)
        broker.expire_before(EVENTS, 1)
        while not work.metric(ALARM, EVENTS):  # noqa: ASYNC110  another task looks
            await asyncio.sleep(0.005)
        assert work.metric(HEADROOM, EVENTS) == -1
        work.stop.set()
        with pytest.raises(OffsetGone):
            await working

    run(body())


def test_an_archive_of_another_log_is_not_continued(tmp_path: Path) -> None:
    """Where the log has another record than the archive's last one, nothing is added."""

    async def body() -> None:
        broker = MemoryBroker()
        log = MemoryLog(broker)
        await log.create(COMMANDS)
        archive(tmp_path, [records(0, 3)])
        for one in (b"some", b"other", b"history", b"altogether"):
            await log.append(COMMANDS, one)
        with pytest.raises(BadSettings, match=f"{COMMANDS}: the record at offset 2 is another one"):
            await Archiving(tmp_path, log, [COMMANDS]).run(once=True)
        assert Archive(tmp_path).bounds(COMMANDS) == (0, 3)

    run(body())


@pytest.mark.parametrize("once", [True, False])
def test_an_archive_whose_ends_were_lost_is_not_continued(tmp_path: Path, once: bool) -> None:
    """Nothing is touched: the log may have no other copy of what is archived."""

    async def body() -> None:
        broker = MemoryBroker()
        log = MemoryLog(broker)
        await log.create(COMMANDS)
        for one in records(0, 5):
            await log.append(COMMANDS, one.body)
        archive(tmp_path, [records(0, 3)])
        broker.expire_before(COMMANDS, 3)
        (tmp_path / ENDS).unlink()
        before = contents(tmp_path)
        with pytest.raises(RecordBroken, match=f"{tmp_path / ENDS} is lost"):
            await Archiving(tmp_path, log, [COMMANDS]).run(once=once)
        assert contents(tmp_path) == before

    run(body())


def test_ends_are_there_before_the_first_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archiver that is killed in its first step leaves what the next one goes on with."""

    async def body() -> None:
        log = MemoryLog(MemoryBroker())
        await log.create(COMMANDS)
        await log.append(COMMANDS, b"record 0")
        work = Archiving(tmp_path, log, [COMMANDS])
        with monkeypatch.context() as patch:
            patch.setattr(TopicWriter, "append", killed_after(TopicWriter.append))
            with pytest.raises(ExceptionGroup):
                await work.run(once=True)
        assert work.archive.segments(COMMANDS)
        await Archiving(tmp_path, log, [COMMANDS]).run(once=True)
        assert all_of(work.archive, 0) == records(0, 1)

    run(body())


def test_a_log_that_ends_before_the_archive_has_lost_its_end(tmp_path: Path) -> None:
    """An archiver does not wait for a lost end to grow again."""

    async def body() -> None:
        broker = MemoryBroker()
        log = MemoryLog(broker)
        await log.create(COMMANDS)
        archive(tmp_path, [records(0, 3)])
        await log.append(COMMANDS, b"record 0")
        with pytest.raises(OffsetBeyondTail, match="archived up to offset 3, but the log ends before 1"):
            await Archiving(tmp_path, log, [COMMANDS]).run()

    run(body())


def test_a_number_of_partitions_that_is_not_the_apps_is_refused(tmp_path: Path) -> None:
    """Who is told of fewer partitions than there are would archive only some."""

    async def body() -> None:
        log = MemoryLog(MemoryBroker())
        bank = Bank(log)
        await bank.open()
        with pytest.raises(BadSettings, match="1 partitions, but this process was told 3: say --partitions 1"):
            await Archiving(tmp_path, log, TOPICS, partitions=3).run()

    run(body())


def test_a_broken_journal_is_archived_no_further(tmp_path: Path) -> None:
    """Where every reader of a journal stops, so does the archiver."""

    async def body() -> None:
        log = MemoryLog(MemoryBroker())
        bank = Bank(log)
        await bank.open()
        bank.events.position = bank.events.position._replace(batch_no=5)
        await bank.events.advance()
        with pytest.raises(JournalBroken, match=f"{EVENTS}, offset 1: batch 6 follows batch 0"):
            await Archiving(tmp_path, log, [EVENTS]).run()

    run(body())


def test_a_disk_that_fails_is_waited_for_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an fsync failed for is written again."""
    real, failures = os.fsync, [OSError(5, "Input/output error"), None, OSError(28, "No space left on device"), None]

    def fails_at_times(number: int) -> None:
        if os.fstat(number).st_size and failures and (problem := failures.pop()) is not None:
            raise problem
        real(number)

    async def body() -> None:
        broker, chance = MemoryBroker(), Random(3)
        bank = Bank(MemoryLog(broker))
        await bank.open()
        async with archiving(tmp_path, MemoryLog(broker), TOPICS) as work:
            await work.readiness.wait()
            monkeypatch.setattr(os, "fsync", fails_at_times)
            while failures:
                await bank.step(chance)
                await asyncio.sleep(0.002)
            for topic in TOPICS:
                await archived(work.archive, topic, len(broker.records(topic)))
            await work.readiness.wait()
        assert same(broker, work.archive)
        verify(work.archive)

    run(body())
