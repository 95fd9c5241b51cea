"""The log in memory, for tests and simulation: one broker, several handles, faults from a seed.

Time is only the loop's (`call_later`, `asyncio.timeout`) and chance only the `Random` given, so a loop with virtual
time replays a run exactly.  What an append has set in motion belongs to the broker: a sender that gives up, is
cancelled or closes its handle does not call it back.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from random import Random

from bennu.errors import AppendRefused, AppendUnknown, OffsetBeyondTail, OffsetGone, RecordBroken, TopicMissing
from bennu.log.limits import CHUNK_BYTES, CHUNK_RECORDS, check_append, check_topic
from bennu.log.port import Record


@dataclass(frozen=True)
class Faults:
    """How likely each misfortune of an append is.  The first five exclude one another; a delay may join any."""

    drop: float = 0.0
    """Never lands; the outcome is unknown to the caller."""
    refuse: float = 0.0
    """Never lands, and the caller is told so."""
    duplicate: float = 0.0
    """Lands twice; the caller hears of the first."""
    unknown: float = 0.0
    """Lands in time, yet the caller never hears of it."""
    late: float = 0.0
    """Lands up to `late_max_ms` afterwards, perhaps behind later appends; the caller never hears of it."""
    delay: float = 0.0
    """Lands, and is answered, up to `delay_max_ms` afterwards: possibly beyond the caller's deadline."""
    delay_max_ms: int = 50
    late_max_ms: int = 60_000

    def __post_init__(self) -> None:
        assert self.drop + self.refuse + self.duplicate + self.unknown + self.late <= 1.0


NO_FAULTS = Faults()


@dataclass
class _Topic:
    first: int = 0
    bodies: list[bytes | None] = field(default_factory=list)
    """None stands for a record whose bytes cannot be trusted."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def end(self) -> int:
        return self.first + len(self.bodies)

    def wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    def land(self, record: bytes, answer: "asyncio.Future[int] | None" = None) -> None:
        self.bodies.append(record)
        if answer is not None and not answer.done():
            answer.set_result(self.end - 1)
        self.wake()


class MemoryBroker:
    """The topics that several `MemoryLog` handles share, and the faults they suffer; `faults` may be set any time."""

    def __init__(self, random: Random | None = None, faults: Faults = NO_FAULTS) -> None:
        self.random = random or Random(0)  # noqa: S311  chance for tests, not secrets
        self.faults = faults
        self._topics: dict[str, _Topic] = {}

    def create(self, topic: str) -> None:
        """Make the topic if it is not there."""
        self._topics.setdefault(topic, _Topic())

    def topic(self, topic: str) -> _Topic:
        """Raises `TopicMissing`."""
        if (found := self._topics.get(topic)) is None:
            raise TopicMissing(f"{topic}: not in this broker")
        return found

    def records(self, topic: str) -> list[bytes | None]:
        """All that the topic keeps now, for a test's last look."""
        return list(self.topic(topic).bodies)

    def expire_before(self, topic: str, offset: int) -> None:
        """Lose the records below `offset`, as a broker does when they grow old."""
        state = self.topic(topic)
        assert state.first <= offset <= state.end
        del state.bodies[: offset - state.first]
        state.first = offset
        state.wake()

    def truncate(self, topic: str, offset: int) -> None:
        """Lose the records from `offset` on, as a power cut does to a log that was not flushed."""
        state = self.topic(topic)
        assert state.first <= offset <= state.end
        del state.bodies[offset - state.first :]
        state.wake()

    def corrupt(self, topic: str, offset: int) -> None:
        """Spoil one record: readers that come to it get `RecordBroken`."""
        state = self.topic(topic)
        state.bodies[offset - state.first] = None

    def delete(self, topic: str) -> None:
        """Remove the topic; readers that wait at its tail get `TopicMissing`."""
        self._topics.pop(topic).wake()


class MemoryLog:
    """One process's handle on a broker.  See `bennu.log.port.Log` for what it promises."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._closed = False

    def close(self) -> None:
        """End this handle's readers and refuse its appends; what was sent before may still land."""
        self._closed = True
        for topic in self._broker._topics.values():
            topic.wake()

    async def create(self, topic: str) -> None:
        check_topic(topic)
        self._broker.create(topic)

    async def bounds(self, topic: str) -> tuple[int, int]:
        check_topic(topic)
        state = self._broker.topic(topic)
        return state.first, state.end

    async def append(self, topic: str, record: bytes, *, timeout_ms: int = 3000) -> int:
        check_append(topic, record)
        if self._closed:
            raise AppendRefused(f"{topic}: this handle is closed", final=False)
        try:
            state = self._broker.topic(topic)
        except TopicMissing as missing:
            raise AppendRefused(str(missing), final=True) from missing
        if self._broker.faults is NO_FAULTS:
            state.land(record)
            offset = state.end - 1
            await asyncio.sleep(0)  # others run between two appends, as they do with a real broker
            return offset
        return await self._append_with_faults(state, topic, record=record, timeout_ms=timeout_ms)

    async def _append_with_faults(self, state: _Topic, topic: str, *, record: bytes, timeout_ms: int) -> int:
        faults, random, loop = self._broker.faults, self._broker.random, asyncio.get_running_loop()
        fate = _draw(faults, random)
        if fate == "refuse":
            raise AppendRefused(f"{topic}: refused by chance", final=False)
        delay_s = random.random() * faults.delay_max_ms / 1000 if random.random() < faults.delay else 0.0
        heard = fate in ("land", "duplicate")
        # A caller hears of a broken connection at any time, and of a lost answer at its deadline: both are "unknown".
        patience_s = timeout_ms / 1000 * (1.0 if heard else random.random())
        answer: asyncio.Future[int] = loop.create_future()
        if fate == "late":
            delay_s = random.random() * faults.late_max_ms / 1000
        if fate != "drop":
            loop.call_later(delay_s, state.land, bytes(record), answer if heard else None)
        if fate == "duplicate":
            loop.call_later(delay_s + random.random() * faults.delay_max_ms / 1000, state.land, bytes(record))
        try:
            async with asyncio.timeout(patience_s):
                return await answer
        except TimeoutError:
            raise AppendUnknown(f"{topic}: no answer after {patience_s * 1000:.0f} ms") from None

    async def read(self, topic: str, offset: int) -> AsyncGenerator[Sequence[Record], None]:
        check_topic(topic)
        while not self._closed:
            state = self._broker.topic(topic)
            changed = state.changed
            if chunk := _chunk(state, topic, offset=offset):
                offset = chunk[-1].offset + 1
                await asyncio.sleep(0)  # a long replay lets others run
                yield chunk
            else:
                await changed.wait()


def _draw(faults: Faults, random: Random) -> str:
    throw = random.random()
    for fate in ("drop", "refuse", "duplicate", "unknown", "late"):
        throw -= float(getattr(faults, fate))
        if throw < 0:
            return fate
    return "land"


def _chunk(state: _Topic, topic: str, *, offset: int) -> list[Record]:
    if offset < state.first:
        raise OffsetGone(f"{topic}: offset {offset} is gone, the first one kept is {state.first}")
    if offset > state.end:
        raise OffsetBeyondTail(f"{topic}: offset {offset} lies beyond the end, {state.end} would be next")
    chunk: list[Record] = []
    size = 0
    start = offset - state.first
    for index, body in enumerate(state.bodies[start : start + CHUNK_RECORDS], offset):
        if body is None:
            if chunk:
                break
            raise RecordBroken(f"{topic}: the record at offset {index} is broken")
        chunk.append(Record(index, body))
        size += len(body)
        if size >= CHUNK_BYTES:
            break
    return chunk
