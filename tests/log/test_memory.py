"""The log in memory keeps every log's promises, and its faults are those that its settings name."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest

from bennu import log as bennu_log
from bennu.errors import AppendRefused, AppendUnknown, BadSettings, OffsetBeyondTail, RecordBroken
from bennu.log.memory import NO_FAULTS, Faults, MemoryBroker, MemoryLog
from bennu.log.port import Log
from tests.log.conformance import LogConformance, Rig
from tests.log.helpers import expect_unknown, fails, run, take


class MemoryRig:
    """One broker for all handles."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Log]:
        log = MemoryLog(self.broker)
        yield log
        log.close()

    async def expire_before(self, _log: Log, topic: str, *, offset: int) -> int:
        self.broker.expire_before(topic, offset)
        return offset

    async def append_unheard(self, log: Log, topic: str, *, record: bytes) -> None:
        self.broker.faults = Faults(unknown=1.0)
        await expect_unknown(lambda: log.append(topic, record, timeout_ms=20))
        self.broker.faults = NO_FAULTS


class TestMemory(LogConformance):
    @pytest.fixture
    def rig(self) -> Rig:
        return MemoryRig()


class TestMemoryWithDelays(LogConformance):
    """Slow is no excuse."""

    @pytest.fixture
    def rig(self) -> Rig:
        rig = MemoryRig()
        rig.broker.faults = Faults(delay=0.5, delay_max_ms=2)
        return rig


async def _outcomes(seed: int, faults: Faults, *, count: int = 200) -> tuple[list[int | str], list[bytes | None]]:
    broker = MemoryBroker(Random(seed), faults)
    broker.create("t")
    log = MemoryLog(broker)
    told: list[int | str] = []
    for n in range(count):
        try:
            told.append(await log.append("t", b"%d" % n, timeout_ms=3))
        except (AppendRefused, AppendUnknown) as error:
            told.append(type(error).__name__)
    await asyncio.sleep(faults.late_max_ms / 1000)
    return told, broker.records("t")


@pytest.mark.parametrize(
    ("faults", "heard", "times_landed"),
    [
        (Faults(drop=1.0, late_max_ms=1), "AppendUnknown", 0),
        (Faults(refuse=1.0, late_max_ms=1), "AppendRefused", 0),
        (Faults(unknown=1.0, late_max_ms=1), "AppendUnknown", 1),
        (Faults(late=1.0, late_max_ms=20), "AppendUnknown", 1),
        (Faults(duplicate=1.0, delay_max_ms=0, late_max_ms=1), None, 2),
    ],
)
def test_each_fault_does_what_its_name_says(faults: Faults, heard: str | None, times_landed: int) -> None:
    """Each fault is told, and lands, as its name says."""

    async def body() -> None:
        told, found = await _outcomes(1, faults, count=10)
        assert set(told) == {heard} if heard else all(isinstance(outcome, int) for outcome in told)
        assert Counter(found) == Counter([b"%d" % n for n in range(10)] * times_landed)

    run(body())


def test_whoever_is_told_an_offset_finds_the_record_there_whatever_else_happens() -> None:
    """Faults may lose, repeat and reorder; they never make a receipt or a refusal a lie."""

    async def body() -> None:
        seed = Random().randrange(1 << 32)
        print("seed", seed)
        faults = Faults(
            drop=0.1, refuse=0.1, duplicate=0.1, unknown=0.1, late=0.1, delay=0.3, delay_max_ms=6, late_max_ms=50
        )
        told, found = await _outcomes(seed, faults)
        for n, outcome in enumerate(told):
            if isinstance(outcome, int):
                assert found[outcome] == b"%d" % n
            if outcome == "AppendRefused":
                assert b"%d" % n not in found
        assert found != sorted(found, key=lambda record: int(record or b"0")), "late ones come out of order"

    run(body())


def test_a_truncated_log_is_noticed_by_who_was_further() -> None:
    """A reader that was further than the new end is told so while it waits."""

    async def body() -> None:
        broker = MemoryBroker()
        broker.create("t")
        log = MemoryLog(broker)
        for n in range(5):
            await log.append("t", b"%d" % n)
        at_tail = asyncio.ensure_future(fails(OffsetBeyondTail, log, topic="t", offset=5))
        await asyncio.sleep(0)
        broker.truncate("t", 3)
        await at_tail
        assert await log.append("t", b"again") == 3

    run(body())


def test_good_records_before_a_broken_one_are_handed_out_first() -> None:
    """A broken record stops a reader there, not earlier."""

    async def body() -> None:
        broker = MemoryBroker()
        broker.create("t")
        log = MemoryLog(broker)
        for n in range(5):
            await log.append("t", b"%d" % n)
        broker.corrupt("t", 3)
        assert len(await take(log, "t", start=0, count=3)) == 3
        assert "t" in str(await fails(RecordBroken, log, topic="t", offset=0))

    run(body())


@pytest.mark.parametrize(
    "url",
    ["", "memory", "memory:x", "kafka://a:1", "sqlite:", "sqlite://x/y", "sqlite:x?mode=rw", "sqlite:/dev/null"],
)
def test_a_url_that_names_no_log_is_refused_at_once(url: str) -> None:
    """A wrong URL fails at start, not at the first append."""
    with pytest.raises(BadSettings):
        bennu_log.open(url)


def test_credentials_for_a_log_that_has_none_are_refused() -> None:
    """A secret that would be ignored is a mistake worth saying."""
    with pytest.raises(BadSettings):
        bennu_log.open("memory:", access_key="a", secret_key="b")


def test_the_log_in_memory_opens_by_its_url() -> None:
    """`memory:` is a log like the others."""

    async def body() -> None:
        async with bennu_log.open("memory:") as log:
            await log.create("t")
            assert await log.append("t", b"x") == 0

    run(body())
