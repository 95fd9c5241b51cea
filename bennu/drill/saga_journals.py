"""What the journals of an app's sagas say: which began, and how each of them ended."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass, field

from bennu.log.port import Log
from bennu.replica.history import judged
from bennu.replica.journal import JournalReader, Position, Verdict
from bennu.v1.journal_pb2 import EpochStart, EventBatch
from bennu.v1.saga_pb2 import SagaEnded, SagaStarted, SagaStatus

COMPLETED, COMPENSATED, COMPENSATION_FAILED = (
    SagaStatus.SAGA_STATUS_COMPLETED,
    SagaStatus.SAGA_STATUS_COMPENSATED,
    SagaStatus.SAGA_STATUS_COMPENSATION_FAILED,
)
_STARTED, _ENDED = SagaStarted.DESCRIPTOR.full_name, SagaEnded.DESCRIPTOR.full_name


@dataclass
class Sagas:
    """By id."""

    started: Counter[str] = field(default_factory=Counter)
    ended: dict[str, list[SagaStatus.ValueType]] = field(default_factory=dict)

    def take(self, batch: EventBatch) -> None:
        """The next effective batch of one of their journals."""
        for index, raw in zip(batch.event_type_indexes, batch.events, strict=True):
            name = batch.event_types[index]
            if name == _STARTED:
                self.started[SagaStarted.FromString(raw).saga_id] += 1
            elif name == _ENDED:
                record = SagaEnded.FromString(raw)
                self.ended.setdefault(record.saga_id, []).append(record.status)

    def count(self, status: SagaStatus.ValueType) -> int:
        """How many ended so."""
        return sum(statuses[-1] == status for statuses in self.ended.values())

    def stuck(self, asked: Collection[str]) -> list[str]:
        """Those that should have begun, or have, and did not end."""
        return sorted((set(asked) | self.started.keys()) - self.ended.keys())

    def twice(self) -> list[str]:
        """Those that began or ended more than once: no operator ends them here, and a key is given once."""
        more = {name for name, times in self.started.items() if times > 1}
        return sorted(more | {name for name, statuses in self.ended.items() if len(statuses) > 1})


def topic_of(app_name: str, number: int) -> str:
    """The journal of a partition's sagas."""
    return f"{app_name}-saga-{number}"


async def read_sagas(log: Log, app_name: str, partitions: int) -> Sagas:
    """All that is there now.  Raises `JournalBroken` and `RecordBroken`."""
    sagas = Sagas()
    for number in range(partitions):
        async for found in judged(log, topic_of(app_name, number)):
            _take(sagas, found.verdict, found.record)
    return sagas


class Ends:
    """Which sagas have ended, kept true by `follow` of each partition's journal."""

    def __init__(self, log: Log, app_name: str) -> None:
        self.log = log
        self.sagas = Sagas()
        self._app_name = app_name
        self._moved = asyncio.Event()

    async def follow(self, number: int) -> None:
        """For ever."""
        reader = JournalReader(Position(topic_of(self._app_name, number)))
        async with aclosing(self.log.read(reader.position.topic, 0)) as chunks:
            async for chunk in chunks:
                for offset, body in chunk:
                    _take(self.sagas, *reader.classify(offset, body))
                self._moved.set()

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Whether it holds, looked at whenever something was journaled."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True


def _take(sagas: Sagas, verdict: Verdict, record: EpochStart | EventBatch) -> None:
    if verdict is Verdict.BATCH and isinstance(record, EventBatch):
        sagas.take(record)
