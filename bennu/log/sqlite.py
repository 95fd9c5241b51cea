"""The embedded log: a directory with one SQLite file per topic, for several processes on one host.

Each topic has one thread that writes and each reader one that reads, with a connection of its own.  Readers wake by a
notification inside the process; for other processes they watch the file's write-ahead log (`sqlite_watch.py`).
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from bennu.errors import AppendRefused, AppendUnknown, Unavailable
from bennu.log.limits import BOUNDS_TIMEOUT_MS, check_append, check_topic
from bennu.log.patience import Patience
from bennu.log.port import Record
from bennu.log.sqlite_file import TopicFile, create_file
from bennu.log.sqlite_thread import CallThread, Overdue
from bennu.log.sqlite_watch import Lookout, Watch

T = TypeVar("T")

_CLOSE_TIMEOUT_S = 5.0
_MAX_WAITING_APPENDS = 1024


class _Worker:
    """A thread with a connection of its own to one topic's file."""

    def __init__(self, topic: str, path: Path) -> None:
        self.file = TopicFile(topic, path)
        self.thread = CallThread(f"log-{topic}")

    async def close(self) -> None:
        closed = self.thread.begin(self.file.close)
        self.thread.end()
        with suppress(TimeoutError):  # a thread stuck in the disk closes its file whenever the disk lets go
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await closed.answer


@dataclass
class _Topic:
    writer: _Worker
    path: Path
    waiting: int = 0
    overdue: Overdue = field(default_factory=Overdue)
    watches: set[Watch] = field(default_factory=set)
    """Those of its readers."""
    spare: list[_Worker] = field(default_factory=list)
    """Of a reader that has ended, for the next one: a leader reads again and again, and a thread starts slowly."""

    def wake(self) -> None:
        for watch in self.watches:
            watch.wake()


class SqliteLog:
    """See `bennu.log.port.Log` for what it promises."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._topics: dict[str, _Topic] = {}
        self._lookout = Lookout()
        self._closed = asyncio.Event()

    async def close(self) -> None:
        """End the readers and refuse appends; waits for the write under way, for a few seconds."""
        if self._closed.is_set():
            return
        self._closed.set()
        for topic in self._topics.values():
            topic.wake()
        workers = [worker for topic in self._topics.values() for worker in (topic.writer, *topic.spare)]
        await asyncio.gather(*(worker.close() for worker in workers))

    def _topic(self, topic: str) -> _Topic:
        if (found := self._topics.get(topic)) is None:
            path = self._directory / f"{topic}.sqlite"
            found = self._topics[topic] = _Topic(_Worker(topic, path), path)
        return found

    async def create(self, topic: str) -> None:
        check_topic(topic)
        state = self._topic(topic)
        await self._ask(topic, lambda: create_file(state.path))

    async def bounds(self, topic: str) -> tuple[int, int]:
        check_topic(topic)
        return await self._ask(topic, self._topic(topic).writer.file.bounds)

    async def _ask(self, topic: str, call: Callable[[], T]) -> T:
        if self._closed.is_set():
            raise Unavailable(f"{topic}: this log is closed")
        try:
            async with asyncio.timeout(BOUNDS_TIMEOUT_MS / 1000):
                return await self._topic(topic).writer.thread.run(call)
        except TimeoutError:
            raise Unavailable(f"{topic}: no answer from the disk in {BOUNDS_TIMEOUT_MS} ms") from None

    async def append(self, topic: str, record: bytes, *, timeout_ms: int = 3000) -> int:
        check_append(topic, record)
        if self._closed.is_set():
            raise AppendRefused(f"{topic}: this log is closed", final=False)
        state = self._topic(topic)
        if state.waiting >= _MAX_WAITING_APPENDS:
            raise AppendRefused(f"{topic}: {state.waiting} appends are waiting already", final=False)
        state.waiting += 1
        try:
            return await self._append(state, topic, record=record, timeout_ms=timeout_ms)
        finally:
            state.waiting -= 1
            state.wake()  # also after an unknown outcome: it may be there

    async def _append(self, state: _Topic, topic: str, *, record: bytes, timeout_ms: int) -> int:
        write, deadline_s = state.writer.file.append, time.monotonic() + timeout_ms / 1000
        call = state.writer.thread.begin(lambda: write(record, deadline_s))
        # A little longer than the file's own deadline: its "refused" says more than our "unknown".
        state.overdue.watch(call.answer, timeout_ms / 1000 + 0.05)
        try:
            return await call.answer
        except TimeoutError:
            if call.drop():
                raise AppendRefused(f"{topic}: not begun in {timeout_ms} ms", final=False) from None
            raise AppendUnknown(f"{topic}: no answer from the disk in {timeout_ms} ms") from None
        except asyncio.CancelledError:
            call.drop()
            raise
        finally:
            state.overdue.forget(call.answer)

    async def read(self, topic: str, offset: int) -> AsyncGenerator[Sequence[Record], None]:
        check_topic(topic)
        if self._closed.is_set():
            return
        state = self._topic(topic)
        worker = state.spare.pop() if state.spare else _Worker(topic, state.path)
        watch = Watch(topic, state.path, self._lookout)
        state.watches.add(watch)
        try:
            while not self._closed.is_set():
                watch.mark()
                if chunk := await self._fetch(worker, offset):
                    offset = chunk[-1].offset + 1
                    watch.busy()
                    yield chunk
                else:
                    await watch.wait()
        finally:
            state.watches.discard(watch)
            if state.spare or self._closed.is_set():
                await worker.close()
            else:
                state.spare.append(worker)

    async def _fetch(self, worker: _Worker, offset: int) -> list[Record]:
        patience = Patience(f"reading at offset {offset}", self._closed)
        while not self._closed.is_set():
            try:
                return await worker.thread.run(lambda: worker.file.fetch(offset))
            except Unavailable as error:
                await patience.wait(error)
        return []
