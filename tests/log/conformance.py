"""What every log promises, written once; each adapter's test file adopts it with a rig of its own.

`open` is called within the loop; each call stands for another process's handle on the same log.
"""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager, suppress
from typing import Protocol

import pytest

from bennu.errors import AppendRefused, BadSettings, OffsetBeyondTail, OffsetGone, TopicMissing
from bennu.log.port import MAX_RECORD_BYTES, Log
from tests.log.helpers import bodies, drain, fails, run, take

_names = itertools.count(1)


class Rig(Protocol):
    """What the suite needs to know of an adapter."""

    def open(self) -> AbstractAsyncContextManager[Log]: ...

    async def expire_before(self, log: Log, topic: str, *, offset: int) -> int:
        """Lose records up to about `offset`; the first offset kept now (above 0)."""

    async def append_unheard(self, log: Log, topic: str, *, record: bytes) -> None:
        """Append so that the record lands and the caller gets `AppendUnknown`."""


class LogConformance:
    """Subclass it with a fixture `rig`."""

    @staticmethod
    @asynccontextmanager
    async def topic(rig: Rig, *, handles: int = 1) -> AsyncIterator[tuple[str, list[Log]]]:
        """A fresh topic, and so many handles on its log."""
        async with AsyncExitStack() as stack:
            logs = [await stack.enter_async_context(rig.open()) for _ in range(handles)]
            name = f"t-{random.Random().randrange(1 << 40):x}-{next(_names)}"
            await logs[0].create(name)
            yield name, logs

    def test_records_stand_in_the_order_of_their_appends_at_contiguous_offsets(self, rig: Rig) -> None:
        """One caller's records stand in its order, from 0 on, without a gap."""

        async def body() -> None:
            async with self.topic(rig) as (topic, [log]):
                assert await log.bounds(topic) == (0, 0)
                offsets = [await log.append(topic, b"record %d" % n) for n in range(50)]
                assert offsets == list(range(50))
                assert await log.bounds(topic) == (0, 50)
                assert await bodies(log, topic) == [b"record %d" % n for n in range(50)]

        run(body())

    def test_reading_starts_at_exactly_the_offset_asked_for(self, rig: Rig) -> None:
        """A reader gets the record at its offset first, wherever chunks begin."""

        async def body() -> None:
            async with self.topic(rig) as (topic, [log]):
                for n in range(40):
                    await log.append(topic, b"%d" % n)
                for start in (0, 1, 17, 38, 39):
                    records = await take(log, topic, start=start, count=40 - start)
                    assert records == [(n, b"%d" % n) for n in range(start, 40)]

        run(body())

    def test_any_bytes_come_back_as_they_were(self, rig: Rig) -> None:
        """A log does not look into its records."""

        async def body() -> None:
            seed = random.Random().randrange(1 << 32)
            print("seed", seed)
            chance = random.Random(seed)
            async with self.topic(rig) as (topic, [log]):
                sizes = [chance.choice((1, 100, 4_097, 70_000, 900_000)) for _ in range(30)]
                sent = [b"\0", bytes(range(256)), *map(chance.randbytes, sizes)]
                for record in sent:
                    await log.append(topic, record)
                assert await bodies(log, topic) == sent

        run(body())

    def test_a_reader_at_the_tail_wakes_for_its_own_process_and_for_another(self, rig: Rig) -> None:
        """A reader at the tail waits, and gets each record whoever wrote it."""

        async def body() -> None:
            async with (
                self.topic(rig, handles=2) as (topic, [mine, other]),
                aclosing(mine.read(topic, 0)) as chunks,
            ):
                for n in range(20):
                    coming = asyncio.ensure_future(anext(chunks))
                    await asyncio.sleep(0)  # lets the reader come to the tail first, most times
                    await (mine, other)[n % 2].append(topic, b"%d" % n)
                    assert await coming == [(n, b"%d" % n)]

        run(body())

    def test_several_readers_see_the_same_records(self, rig: Rig) -> None:
        """Readers do not take records from one another."""

        async def body() -> None:
            async with self.topic(rig, handles=3) as (topic, logs):
                for n in range(2):
                    await logs[0].append(topic, b"%d" % n)
                readers = [
                    asyncio.ensure_future(take(log, topic, start=n % 3, count=100 - n % 3))
                    for n, log in enumerate(logs * 2)
                ]
                for n in range(2, 100):
                    await logs[0].append(topic, b"%d" % n)
                for n, records in enumerate(await asyncio.gather(*readers)):
                    assert records == [(i, b"%d" % i) for i in range(n % 3, 100)]

        run(body())

    def test_two_writers_interleave_and_each_keeps_its_order(self, rig: Rig) -> None:
        """Two writers share a topic, and each is told its true offsets, rising."""

        async def body() -> None:
            async with self.topic(rig, handles=2) as (topic, logs):

                async def write(log: Log, name: bytes) -> dict[int, bytes]:
                    sent = [name + b" %d" % n for n in range(60)]
                    return {await log.append(topic, record): record for record in sent}

                told = await asyncio.gather(write(logs[0], b"a"), write(logs[1], b"b"))
                found = {record.offset: record.body for record in await take(logs[1], topic, start=0, count=120)}
                assert found == told[0] | told[1]
                for receipts in told:
                    assert list(receipts) == sorted(receipts)

        run(body())

    def test_appends_made_at_once_through_one_handle_all_land(self, rig: Rig) -> None:
        """Appends that are not awaited one by one still get offsets of their own."""

        async def body() -> None:
            async with self.topic(rig) as (topic, [log]):
                receipts = await asyncio.gather(*(log.append(topic, b"%d" % n) for n in range(30)))
                assert sorted(receipts) == list(range(30))
                found = await bodies(log, topic)
                assert all(found[offset] == b"%d" % n for n, offset in enumerate(receipts))

        run(body())

    def test_an_unknown_outcome_is_said_so_and_the_record_is_found_by_reading(self, rig: Rig) -> None:
        """An unheard append may be there: reading tells, and the next one stands behind it."""

        async def body() -> None:
            async with self.topic(rig) as (topic, [log]):
                await log.append(topic, b"before")
                await rig.append_unheard(log, topic, record=b"unheard")
                assert (await take(log, topic, start=1, count=1))[0].body == b"unheard"
                assert await log.append(topic, b"after") == 2

        run(body())

    def test_an_offset_below_the_first_record_kept_is_an_error(self, rig: Rig) -> None:
        """A reader is never moved up to the first record that is left."""

        async def body() -> None:
            async with self.topic(rig) as (topic, [log]):
                for n in range(10):
                    await log.append(topic, b"%d" % n)
                first = await rig.expire_before(log, topic, offset=6)
                kept, end = await log.bounds(topic)
                assert 0 < kept == first <= end
                for gone in {0, first - 1}:
                    assert topic in str(await fails(OffsetGone, log, topic=topic, offset=gone))
                assert len(await bodies(log, topic)) == end - first
                assert await log.append(topic, b"next") == end

        run(body(), timeout_s=180)  # a RocketMQ broker deletes nothing in its first minute

    def test_an_offset_beyond_the_tail_is_an_error_and_the_tail_is_not(self, rig: Rig) -> None:
        """The next offset is waited for; a later one means that the log lost its end."""

        async def body() -> None:
            async with self.topic(rig) as (topic, [log]):
                await fails(OffsetBeyondTail, log, topic=topic, offset=1)
                for n in range(3):
                    await log.append(topic, b"%d" % n)
                for beyond in (4, 5, 1_000_000):
                    assert topic in str(await fails(OffsetBeyondTail, log, topic=topic, offset=beyond))
                at_tail = asyncio.ensure_future(take(log, topic, start=3, count=1))
                await asyncio.sleep(0)
                assert await log.append(topic, b"3") == 3
                assert await at_tail == [(3, b"3")]

        run(body())

    def test_a_record_may_have_four_mebibytes_and_not_a_byte_more(self, rig: Rig) -> None:
        """Too large and empty are refused for good, and leave no trace."""

        async def body() -> None:
            async with self.topic(rig) as (topic, [log]):
                largest = random.Random(4).randbytes(MAX_RECORD_BYTES)
                assert await log.append(topic, largest, timeout_ms=20_000) == 0
                for bad in (largest + b"!", b""):
                    with pytest.raises(AppendRefused) as refused:
                        await log.append(topic, bad)
                    assert refused.value.final
                assert await log.append(topic, b"small") == 1
                # Read, not asked for: a broker counts a large record some milliseconds after it was appended.
                assert [each.body for each in await take(log, topic, start=0, count=2)] == [largest, b"small"]

        run(body())

    def test_a_missing_topic_is_named(self, rig: Rig) -> None:
        """A topic that nobody made is an error that names it, in every call."""

        async def body() -> None:
            async with rig.open() as log:
                with pytest.raises(TopicMissing, match="no-such-topic"):
                    await log.bounds("no-such-topic")
                await fails(TopicMissing, log, topic="no-such-topic", offset=0)
                with pytest.raises(AppendRefused, match="no-such-topic") as refused:
                    await log.append("no-such-topic", b"x")
                assert refused.value.final

        run(body())

    @pytest.mark.parametrize("name", ["", "a.b", "a b", "a/b", "%RETRY%x", "ä", "x" * 101, "a\n"])
    def test_a_bad_name_is_refused_before_anything_is_asked(self, rig: Rig, name: str) -> None:
        """A name that some adapter could not carry is refused by all."""

        async def body() -> None:
            async with rig.open() as log:
                with pytest.raises(BadSettings):
                    await log.create(name)
                with pytest.raises(BadSettings):
                    await log.bounds(name)
                await fails(BadSettings, log, topic=name, offset=0)
                with pytest.raises(AppendRefused) as refused:
                    await log.append(name, b"x")
                assert refused.value.final

        run(body())

    def test_creating_a_topic_again_changes_nothing(self, rig: Rig) -> None:
        """Create is idempotent, also at the same time and from another process."""

        async def body() -> None:
            async with self.topic(rig, handles=2) as (topic, [log, other]):
                await log.append(topic, b"kept")
                await asyncio.gather(log.create(topic), other.create(topic))
                assert await bodies(other, topic) == [b"kept"]

        run(body())

    def test_closing_a_reader_that_waits_at_the_tail_frees_it(self, rig: Rig) -> None:
        """A cancelled reader closes, and the log goes on."""

        async def body() -> None:
            async with self.topic(rig) as (topic, [log]):
                await log.append(topic, b"one")
                chunks = log.read(topic, 0)
                assert await anext(chunks) == [(0, b"one")]
                waiting = asyncio.ensure_future(anext(chunks))
                await asyncio.sleep(0)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                await chunks.aclose()
                assert await log.append(topic, b"two") == 1
                assert await bodies(log, topic) == [b"one", b"two"]

        run(body())

    def test_closing_the_log_ends_its_readers_and_refuses_its_appends(self, rig: Rig) -> None:
        """A closed handle's readers just end; its appends were certainly not written."""

        async def body() -> None:
            async with self.topic(rig) as (topic, _):
                async with rig.open() as closing:
                    reading = asyncio.ensure_future(drain(closing.read(topic, 0)))
                    assert await closing.append(topic, b"one") == 0
                assert await reading in ([], [(0, b"one")])
                with pytest.raises(AppendRefused):
                    await closing.append(topic, b"two")

        run(body())

    def test_cancelled_appends_leave_the_log_whole(self, rig: Rig) -> None:
        """A cancelled append lands once or not at all, and what was told stays true."""

        async def body() -> None:
            seed = random.Random().randrange(1 << 32)
            print("seed", seed)
            chance = random.Random(seed)
            async with self.topic(rig) as (topic, [log]):
                told: dict[int, bytes] = {}
                for n in range(40):
                    record = b"%d" % n
                    sending = asyncio.ensure_future(log.append(topic, record))
                    for _ in range(chance.randrange(6)):
                        await asyncio.sleep(0)
                    if chance.random() < 0.5:
                        sending.cancel()
                    with suppress(asyncio.CancelledError):
                        told[await sending] = record
                marker = await log.append(topic, b"end")
                found = await take(log, topic, start=0, count=marker + 1)
                assert all(found[offset].body == record for offset, record in told.items())
                numbers = [int(record.body) for record in found[:-1]]
                assert len(set(numbers)) == len(numbers)

        run(body())
