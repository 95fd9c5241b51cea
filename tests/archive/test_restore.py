"""A log is built again from its archive: the same records at the same offsets, in empty topics, or not at all."""

from pathlib import Path
from random import Random

import pytest

from bennu.archive import restore as module
from bennu.archive.folder import SEALED, Archive, file_name
from bennu.archive.restore import Restored, restore
from bennu.errors import BadSettings, Final, RecordBroken
from bennu.log.memory import Faults, MemoryBroker, MemoryLog
from tests.archive.archiving import Archiving
from tests.archive.bank import COMMANDS, EVENTS, SAGA, TOPICS, Bank
from tests.archive.files import TOPIC, archive, records
from tests.log.helpers import bodies, run, take

STEPS = 40


async def archived_bank(root: Path) -> tuple[MemoryBroker, Archive]:
    """A bank's log, all of it archived."""
    broker, chance = MemoryBroker(), Random(5)
    bank = Bank(MemoryLog(broker))
    await bank.open()
    for _ in range(STEPS):
        await bank.step(chance)
    await Archiving(root, MemoryLog(broker), TOPICS).run(once=True)
    return broker, Archive(root)


def test_a_restored_log_is_the_old_one_and_its_archive_goes_on(tmp_path: Path) -> None:
    """Every record stands where it stood, what was lost is said, and the same archive is continued."""

    async def body() -> None:
        broker, found = await archived_bank(tmp_path)
        again = MemoryBroker()
        done = await restore(found, MemoryLog(again))
        ends = {topic: len(broker.records(topic)) for topic in TOPICS}
        assert {one.topic: one for one in done} == {topic: Restored(topic, n - 1, n) for topic, n in ends.items()}
        for topic in TOPICS:
            assert again.records(topic) == broker.records(topic)
        await MemoryLog(again).append(COMMANDS, b"what comes next")
        await Archiving(tmp_path, MemoryLog(again), TOPICS).run(once=True)
        assert found.bounds(COMMANDS) == (0, ends[COMMANDS] + 1)

    run(body())


def test_a_topic_that_is_not_empty_is_refused_by_name_and_none_is_written(tmp_path: Path) -> None:
    """Nothing is mixed into what is there, and no topic is begun when one can't be restored."""

    async def body() -> None:
        _, found = await archived_bank(tmp_path)
        again = MemoryBroker()
        log = MemoryLog(again)
        await log.create(SAGA)
        await log.append(SAGA, b"mine")
        with pytest.raises(BadSettings, match=f"{SAGA} is not empty, and its record at offset 0 is not the archived"):
            await restore(found, log)
        assert again.records(EVENTS) == again.records(COMMANDS) == []
        assert again.records(SAGA) == [b"mine"]

    run(body())


def test_a_topic_with_more_than_is_archived_is_refused(tmp_path: Path) -> None:
    """A log that went on is not an empty one, even if it begins as the archive does."""

    async def body() -> None:
        log = MemoryLog(MemoryBroker())
        found = archive(tmp_path, [records(0, 3)])
        await restore(found, log)
        await log.append(TOPIC, b"later")
        with pytest.raises(BadSettings, match=f"{TOPIC} is not empty: it has offsets 0 to 3, archived are 0 to 2"):
            await restore(found, log)

    run(body())


def test_an_interrupted_restore_goes_on_from_any_record(tmp_path: Path) -> None:
    """What was written before is kept, and only the rest is written."""

    async def body() -> None:
        found = archive(tmp_path, [records(0, 8)], segment_bytes=1)
        for there in range(9):
            log = MemoryLog(MemoryBroker())
            await log.create(TOPIC)
            for one in records(0, there):
                await log.append(TOPIC, one.body)
            assert await restore(found, log) == [Restored(TOPIC, 7, 8 - there)]
            assert await take(log, TOPIC, start=0, count=8) == records(0, 8)

    run(body())


def test_an_archive_that_begins_late_is_refused(tmp_path: Path) -> None:
    """Offsets are positions: they can't be moved, so an archive without its beginning restores nothing."""
    found = archive(tmp_path, [[one] for one in records(0, 4)], segment_bytes=1)
    (tmp_path / TOPIC / file_name(0, SEALED)).unlink()

    async def body() -> None:
        with pytest.raises(BadSettings, match=f"{TOPIC}: the archive begins at offset 1"):
            await restore(found, MemoryLog(MemoryBroker()))

    run(body())


def test_an_archive_that_lacks_causes_is_refused(tmp_path: Path) -> None:
    """A log that refers to records that another one lost would stop the services, so it is not built."""

    async def body() -> None:
        _, found = await archived_bank(tmp_path)
        found.write_ends(found.ends() | {COMMANDS: found.segments(COMMANDS)[-1].first})
        with pytest.raises(RecordBroken, match=f"not closed.*{COMMANDS}"):
            await restore(found, MemoryLog(MemoryBroker()))

    run(body())


def test_only_what_is_named_is_restored(tmp_path: Path) -> None:
    """Topics may be restored one by one; one that is not archived is an error."""

    async def body() -> None:
        broker, found = await archived_bank(tmp_path)
        log = MemoryLog(MemoryBroker())
        await restore(found, log, [EVENTS])
        assert await bodies(log, EVENTS) == broker.records(EVENTS)
        with pytest.raises(BadSettings, match="nothing is archived of bank-events-7"):
            await restore(found, log, ["bank-events-7"])

    run(body())


def test_appends_of_unknown_outcome_are_settled_by_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that may have landed is looked for before it is sent again, so none stands twice."""
    monkeypatch.setattr(module, "RESTORE_TIMEOUT_MS", 5)
    monkeypatch.setattr(module, "RESTORE_SETTLE_MS", 20)
    found = archive(tmp_path, [records(0, 30)])

    async def body() -> None:
        broker = MemoryBroker(Random(1), Faults(unknown=0.3, drop=0.1, refuse=0.1))
        log = MemoryLog(broker)
        assert await restore(found, log) == [Restored(TOPIC, 29, 30)]
        assert broker.records(TOPIC) == [one.body for one in records(0, 30)]

    run(body())


def test_a_record_that_lands_twice_is_named(tmp_path: Path) -> None:
    """Offsets that would no longer be the archive's end the restore."""
    found = archive(tmp_path, [records(0, 30)])

    async def body() -> None:
        log = MemoryLog(MemoryBroker(Random(1), Faults(duplicate=1.0, delay_max_ms=1)))
        with pytest.raises(Final, match=f"{TOPIC}: a record stands at offset .* make the topic empty"):
            await restore(found, log)

    run(body())
