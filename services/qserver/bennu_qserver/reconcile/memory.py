"""CServer's memory against the journal: each aggregate as it was at one of the moments while it was looked at.

    a page, and where it stands → the journal up to there, event by event → each is one of its states meanwhile

A page is not one moment, and commands go on; so an aggregate may be as it was after any event of that time, and
whoever seems to differ is asked for by itself, again and again, before it is told.
"""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from typing import NamedTuple, Protocol

import grpc
import msgspec

from bennu.cli.calls import TIMEOUT_S, channel_to
from bennu.domain import App
from bennu.errors import Diverged
from bennu.log.port import Log
from bennu.replica.agreement import encode_state
from bennu.replica.cold import ColdReplay
from bennu.replica.history import judged
from bennu.replica.journal import Position, Verdict
from bennu.v1.inspection_pb2 import Aggregate, AggregatePage, GetAggregate, ListAggregates
from bennu.v1.inspection_pb2_grpc import InspectionStub
from bennu.v1.journal_pb2 import EventBatch
from bennu_qserver.reconcile.found import CannotCompare

TRIES = 3
PAGE = 1000

Place = tuple[int, str]
"""Number of the kind, and key."""


class MemoryTable(NamedTuple):
    """What became of a partition."""

    partition: int
    aggregates: int
    differences: int
    position: str


class Shows(Protocol):
    """Who is told of what is found."""

    def aggregate(self, what: str, plain: dict[str, object]) -> None:
        """One that differs."""

    def memory(self, found: MemoryTable) -> None:
        """A partition is compared."""


class _Journal:
    """The states that the journal leads to, up to a position that moves on."""

    def __init__(self, log: Log, app: App, topic: str) -> None:
        self._log = log
        self.replay = ColdReplay(app)
        self.position = Position(topic)

    def state(self, place: Place) -> bytes | None:
        """As it is here, encoded."""
        kind, key = place
        found = self.replay.fold.states[kind].get(key)
        return None if found is None else encode_state(found)

    def places(self) -> Iterator[Place]:
        """All aggregates."""
        return ((kind, key) for kind, states in enumerate(self.replay.fold.states) for key in states)

    async def to(self, batch_no: int) -> None:
        """Go on until this batch is in.  Raises as `ColdReplay.take` and the log do."""
        await self._read(batch_no, None)

    async def through(self, batch_no: int) -> dict[Place, set[bytes | None]]:
        """The same; each state that an aggregate had on the way."""
        seen: dict[Place, set[bytes | None]] = {}
        await self._read(batch_no, seen)
        return seen

    async def _read(self, batch_no: int, seen: dict[Place, set[bytes | None]] | None) -> None:
        if self.position.batch_no >= batch_no:
            return
        async with aclosing(judged(self._log, self.position.topic, self.position)) as found:
            async for one in found:
                self.position = one.position
                if seen is not None and one.verdict is Verdict.BATCH and isinstance(one.record, EventBatch):
                    self._event_by_event(one.record, one.where, seen)
                else:
                    self.replay.take(one)
                if self.position.batch_no >= batch_no:
                    return
        raise CannotCompare(
            f"CServer stands at batch {batch_no} of {self.position.topic}, which ends with batch "
            f"{self.position.batch_no} here: --log names another log, or --grpc another app's CServer"
        )

    def _event_by_event(self, batch: EventBatch, where: str, seen: dict[Place, set[bytes | None]]) -> None:
        fold = self.replay.fold
        for index, raw in zip(batch.event_type_indexes, batch.events, strict=True):
            one = EventBatch(event_types=[batch.event_types[index]], event_type_indexes=[0], events=[raw])
            fold.apply(one, where)
            for kind, key, state in fold.touched():
                seen.setdefault((kind, key), set()).add(encode_state(state))
            fold.digest()  # so that each is touched by itself


class _Check:
    """Of one partition."""

    def __init__(self, app: App, journal: _Journal, stub: InspectionStub, *, partition: int) -> None:
        self._app = app
        self._journal = journal
        self._stub = stub
        self._partition = partition
        self.met: set[Place] = set()

    async def doubtful(self) -> list[Place]:
        """Look at all aggregates; those that were none of the states that they had meanwhile."""
        doubtful: list[Place] = []
        await self._journal.to(_batch_no((await self._page(0, "", limit=1)).position))
        for number in range(len(self._app.kinds)):
            token, more = "", True
            while more:
                page = await self._page(number, token, limit=PAGE)
                token, more = page.next_page_token, bool(page.next_page_token)
                before = {(number, one.key): self._journal.state((number, one.key)) for one in page.aggregates}
                since = await self._journal.through(_batch_no(page.position))
                for one in page.aggregates:
                    place = (number, one.key)
                    self.met.add(place)
                    if self._encoded(number, one) not in {before[place], *since.get(place, ())} - {None}:
                        doubtful.append(place)
        return doubtful + [place for place in self._journal.places() if place not in self.met]

    async def differs(self, place: Place) -> str | None:
        """How an aggregate differs, asked for by itself and more than once; None if it does not."""
        told: str | None = None
        for _ in range(TRIES):
            told = await self._asked(place)
            if told is None:
                return None
        return told

    async def _asked(self, place: Place) -> str | None:
        number, key = place
        before = self._journal.state(place)
        asked = GetAggregate(kind=self._app.kinds[number].state.__name__, key=key)
        try:
            answer = await asyncio.to_thread(self._stub.GetAggregate, asked, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            if getattr(error, "code", lambda: None)() != grpc.StatusCode.NOT_FOUND:
                raise
            return None if before is None else "the journal has it, memory has not"
        since = (await self._journal.through(_batch_no(answer.position))).get(place, set())
        if self._encoded(number, answer.aggregate) in {before, *since} - {None}:
            return None
        now = self._journal.replay.fold.states[number].get(key)
        if now is None:
            return f"memory has it, the journal has not: {answer.aggregate.state_json}"
        return f"memory says {answer.aggregate.state_json}, the journal {msgspec.json.encode(now).decode()}"

    def _encoded(self, number: int, found: Aggregate) -> bytes:
        try:
            return encode_state(msgspec.json.decode(found.state_json, type=self._app.kinds[number].state))
        except msgspec.MsgspecError:  # empty, where it is large; or of another build
            return b""

    async def _page(self, number: int, token: str, *, limit: int) -> AggregatePage:
        asked = ListAggregates(
            kind=self._app.kinds[number].state.__name__, partition=self._partition, limit=limit, page_token=token
        )
        return await asyncio.to_thread(self._stub.ListAggregates, asked, timeout=TIMEOUT_S)


async def compare_memory(address: str, log: Log, app: App, *, partitions: int, shows: Shows) -> None:
    """All partitions, one after another.  Raises `Unavailable`, `Refused`, and the errors of log and journal."""
    with channel_to(address) as channel:
        stub = InspectionStub(channel)
        for partition in range(partitions):
            await compare_partition(stub, log, app, partition=partition, shows=shows)


async def compare_partition(stub: InspectionStub, log: Log, app: App, *, partition: int, shows: Shows) -> None:
    """One of them.  Raises what gRPC raises, and the errors of log and journal."""
    journal = _Journal(log, app, f"{app.name}-events-{partition}")
    check, count = _Check(app, journal, stub, partition=partition), 0
    try:
        for place in await check.doubtful():
            if told := await check.differs(place):
                count += 1
                _show(app, place, told, shows=shows, partition=partition)
    except Diverged as diverged:  # what the journal leads to here is not what its leader had in memory
        count += 1
        shows.aggregate(str(diverged), {"kind": "memory", "partition": partition})
    shows.memory(MemoryTable(partition, len(check.met), count, journal.position.token))


def _show(app: App, place: Place, told: str, *, shows: Shows, partition: int) -> None:
    kind, key = app.kinds[place[0]].state.__name__, place[1]
    plain: dict[str, object] = {"kind": "memory", "aggregate": kind, "key": key, "partition": partition}
    shows.aggregate(f"{kind} {key}, partition {partition}: {told}", plain)


def _batch_no(token: str) -> int:
    return int(token.rpartition(":")[2])
