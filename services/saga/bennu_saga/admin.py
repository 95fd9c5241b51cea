"""`bennu.v1.SagaAdmin`: operators see sagas here, and decide about them.  Answered for partitions that are led here."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import NamedTuple, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from grpc import StatusCode

from bennu.errors import BennuError
from bennu.limits import RETRY_HINT_MS
from bennu.members.group import Group
from bennu.ops.answers import OK, Context, Reply, end, status
from bennu.v1 import saga_admin_pb2 as pb
from bennu.wire.partitioning import partition_of
from bennu_saga.admin_asked import (
    FIRST,
    Invalid,
    Place,
    check_filter,
    decision_of,
    limit_of,
    place_of,
    targets_of,
    token_of,
)
from bennu_saga.admin_trial import try_out
from bennu_saga.admin_views import Look
from bennu_saga.admin_words import in_words
from bennu_saga.definitions import Definitions
from bennu_saga.fold import Record
from bennu_saga.limits import OPERATOR_TIMEOUT_MS, OPERATORS, SAGAS_SLICE, TRIALS_SLICE
from bennu_saga.member import Member
from bennu_saga.operations import NotPossible, Operation
from bennu_saga.requests import Late, NotBegun, NotLed, OutcomeUnknown, Request, check_seen, in_time, seen_of
from bennu_saga.saga_loop import Partition
from bennu_saga.state import SagaState

SERVICE = "bennu.v1.SagaAdmin"

M = TypeVar("M", bound=Message)


class NoSaga(BennuError):
    """Of this id there is none, or not any more."""


REFUSALS = {
    NoSaga: (StatusCode.NOT_FOUND, "SAGA_UNKNOWN", 0),
    NotPossible: (StatusCode.FAILED_PRECONDITION, "NOT_POSSIBLE", 0),
    NotLed: (StatusCode.UNAVAILABLE, "NOT_LED", RETRY_HINT_MS),
    NotBegun: (StatusCode.UNAVAILABLE, "NOT_BEGUN", RETRY_HINT_MS),
    OutcomeUnknown: (StatusCode.UNAVAILABLE, "OUTCOME_UNKNOWN", RETRY_HINT_MS),
    Late: (StatusCode.UNAVAILABLE, "OUTCOME_UNKNOWN", RETRY_HINT_MS),
}
BUSY = status(
    StatusCode.RESOURCE_EXHAUSTED,
    "OVERLOADED",
    f"{OPERATORS} calls of operators are under way; this one was not begun: ask again",
    retry_ms=RETRY_HINT_MS,
)


class Led(NamedTuple):
    """A partition that is led here."""

    member: Member
    partition: Partition
    look: Look

    async def effective(self) -> str:
        """Once all that is in memory now is durable: where that stands.  Raises `OutcomeUnknown`."""
        waiting: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.partition.waiters.add(waiting)
        return await in_time(waiting)

    def try_out(self, target: pb.SagaTarget, decision: Operation) -> pb.SagaResult:
        """What a decision would do.  Raises `NotPossible`."""
        fold, new_reactor, saga_id = self.partition.fold, self.member.new_reactor, target.saga_id
        check_seen(fold.sagas.get(saga_id), target.seen)
        records = try_out(fold, saga_id, decision, new_reactor=new_reactor, now_us=self.look.now_us)
        saga = fold.sagas[saga_id]
        outcome, text = pb.SAGA_OUTCOME_WOULD_BE_DONE, self.in_words(saga, records)
        return pb.SagaResult(saga_id=saga_id, outcome=outcome, text=text, seen=seen_of(saga))

    def in_words(self, saga: SagaState, records: Sequence[Record]) -> str:
        """What follows from a decision about this saga."""
        definition = self.look.definition_of(saga)
        return in_words(records, definition.plan if definition else ())


class Found(NamedTuple):
    """A saga of a list."""

    place: Place
    saga: SagaState
    """Goes on while others are looked at."""
    seen: str
    """The state that the filter let through."""
    led: Led


class Tried(NamedTuple):
    """A decision that was tried, or why it can't be made; `led` is None if its partition is not led here."""

    led: Led | None
    result: pb.SagaResult | NotLed | NotPossible

    async def settled(self) -> pb.SagaResult:
        """Once what it was tried on is durable.  Raises `NotPossible`, `NotLed`, `OutcomeUnknown`."""
        if self.led:
            await self.led.effective()
        if isinstance(self.result, BennuError):
            raise self.result
        return self.result


class Admin:
    """Handlers; each ends with a message or with a rich error."""

    def __init__(self, definitions: Definitions, members: Sequence[Member], group: Group) -> None:
        self._definitions = definitions
        self._members = members
        self._group = group
        self._one_at_a_time = asyncio.Lock()
        self._slots = asyncio.Semaphore(OPERATORS)

    def handlers(self) -> grpc.GenericRpcHandler:
        """The service, to be added to a server."""
        methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "FindLeaders": self._handler(pb.FindLeaders, self.find_leaders),
            "ListSagas": self._handler(pb.ListSagas, self.page),
            "ShowSaga": self._handler(pb.ShowSaga, self.show),
            "ExplainSaga": self._handler(pb.ExplainSaga, self.explain),
            "OperateSaga": self._handler(pb.OperateSaga, self.operate),
            "OperateSagas": self._handler(pb.OperateSagas, self.operate_all),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def _handler(
        self, kind: type[M], answer: Callable[[M], Awaitable[Message]]
    ) -> "grpc.RpcMethodHandler[bytes, bytes]":
        async def handle(raw: bytes, context: Context) -> bytes:
            if self._slots.locked():
                return await end(context, BUSY)
            async with self._slots:
                return await end(context, await _reply(kind, raw, answer))

        made: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(handle)
        return made

    # --- where

    async def find_leaders(self, _asked: pb.FindLeaders) -> pb.SagaLeaders:
        """By number of partition."""
        return pb.SagaLeaders(leaders=[self._leader(member) for member in self._members])

    def _leader(self, member: Member) -> pb.SagaLeader:
        if self._led_by(member):
            return pb.SagaLeader(node=self._group.me.node, address=self._group.me.address)
        claim = self._group.leader(member.number)
        return pb.SagaLeader(node=claim.node, address=claim.address) if claim else pb.SagaLeader()

    def _led(self, saga_id: str) -> Led:
        """The partition of this saga.  Raises `NotLed`."""
        member = self._members[partition_of(saga_id, len(self._members))]
        if led := self._led_by(member):
            return led
        leader = self._leader(member)
        who = f"{leader.node}, at {leader.address}, does" if leader.node else "nobody is known to"
        raise NotLed(f"partition {member.number}, where {saga_id} belongs, is not led here; {who}")

    def _led_by(self, member: Member) -> Led | None:
        partition = member.partition
        if partition is None or partition.stopping:
            return None
        return Led(member, partition, Look(self._definitions, partition.replica.tick()))

    # --- looking

    async def page(self, asked: pb.ListSagas) -> pb.SagaPage:
        """Some sagas of the partitions that are led here.  Raises `Invalid`, `NotBegun`, `OutcomeUnknown`."""
        limit, after = limit_of(asked), place_of(asked.page_token)
        async with self._turn():
            all_led = self._all_led()
            found = await self._first(all_led, asked.filter, after, limit=limit)
            page = pb.SagaPage(sagas=[each.led.look.summary(each.place[1], each.saga) for each in found])
            if len(found) == limit:
                page.next_page_token = token_of(found[-1].place)
        await asyncio.gather(*(led.effective() for led in all_led))
        return page

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """One operator's work after the other.  Raises `NotBegun`."""
        try:
            async with asyncio.timeout(OPERATOR_TIMEOUT_MS / 1000):
                await self._one_at_a_time.acquire()
        except TimeoutError:
            raise NotBegun("other operators' questions came first, and took too long: ask again, for less") from None
        try:
            yield
        finally:
            self._one_at_a_time.release()

    def _all_led(self) -> list[Led]:
        return [led for member in self._members if (led := self._led_by(member))]

    async def _first(self, all_led: Sequence[Led], wanted: pb.SagaFilter, after: Place, *, limit: int) -> list[Found]:
        """The first ones behind this place that the filter lets through."""
        check_filter(wanted, self._definitions)
        found = [each for led in all_led for each in await _matching(led, wanted, after, limit=limit)]
        return sorted(found, key=lambda each: each.place)[:limit]

    async def show(self, asked: pb.ShowSaga) -> pb.SagaView:
        """One saga in full.  Raises `NoSaga`, `NotLed`, `OutcomeUnknown`."""
        led, saga = await self._saga(asked.saga_id)
        view = led.look.view(asked.saga_id, saga)
        view.position = await led.effective()
        return view

    async def explain(self, asked: pb.ExplainSaga) -> pb.SagaExplanation:
        """One saga in a sentence.  Raises `NoSaga`, `NotLed`, `OutcomeUnknown`."""
        led, saga = await self._saga(asked.saga_id)
        sentence = led.look.explain(asked.saga_id, saga)
        return pb.SagaExplanation(sentence=sentence, position=await led.effective())

    async def _saga(self, saga_id: str) -> tuple[Led, SagaState]:
        led = self._led(saga_id)
        saga = led.partition.fold.sagas.get(saga_id)
        if saga is None:
            await led.effective()
            raise NoSaga(
                f"no saga {saga_id} is under way or stands in compensation_failed: it has ended, or never began; "
                f"those that ended are in the table {self._definitions.app.name}.sagas"
            )
        return led, saga

    # --- deciding

    async def operate(self, asked: pb.OperateSaga) -> pb.SagaResult:
        """Raises `Invalid`, `NotPossible`, `NotLed`, `NotBegun`, `OutcomeUnknown`."""
        decision = decision_of(asked.decision)
        if not asked.decision.dry_run:
            return await self._decide(asked.target, decision)
        (tried,) = await self._try_out([asked.target], decision)
        return await tried.settled()

    async def operate_all(self, asked: pb.OperateSagas) -> pb.SagaResults:
        """Raises `Invalid`; `NotBegun` only if nothing was."""
        decision, targets = decision_of(asked.decision), targets_of(asked)
        if not targets:
            async with self._turn():
                found = await self._first(self._all_led(), asked.filter, FIRST, limit=asked.limit)
            targets = [pb.SagaTarget(saga_id=each.place[1], seen=each.seen) for each in found]
        if asked.decision.dry_run:
            answers = [tried.settled() for tried in await self._try_out(targets, decision)]
        else:
            answers = [self._decide(target, decision) for target in targets]
        results = [_result(target, answer) for target, answer in zip(targets, answers, strict=True)]
        return pb.SagaResults(results=await asyncio.gather(*results))

    async def _decide(self, target: pb.SagaTarget, decision: Operation) -> pb.SagaResult:
        """What was done is durable.  Raises `NotPossible`, `NotLed`, `NotBegun`, `OutcomeUnknown`."""
        led = self._led(target.saga_id)
        request = Request(target.saga_id, decision, seen=target.seen)
        led.partition.operate(request)
        position = await request.settled()
        text = led.in_words(request.saga, request.records) if request.saga else ""
        return pb.SagaResult(saga_id=target.saga_id, outcome=pb.SAGA_OUTCOME_DONE, text=text, position=position)

    async def _try_out(self, targets: Sequence[pb.SagaTarget], decision: Operation) -> list[Tried]:
        """Raises `NotBegun`."""
        found = list[Tried]()
        async with self._turn():
            for target in targets:
                found.append(self._tried(target, decision))
                if len(found) % TRIALS_SLICE == 0:
                    await asyncio.sleep(0)  # what is under way has its turn
        return found

    def _tried(self, target: pb.SagaTarget, decision: Operation) -> Tried:
        led: Led | None = None
        try:
            led = self._led(target.saga_id)
            return Tried(led, led.try_out(target, decision))
        except (NotLed, NotPossible) as refused:
            return Tried(led, refused)


async def _result(target: pb.SagaTarget, answer: Awaitable[pb.SagaResult]) -> pb.SagaResult:
    """An answer about one of many, with what it raises as the result."""
    try:
        return await answer
    except OutcomeUnknown as unknown:
        outcome, text = pb.SAGA_OUTCOME_UNKNOWN, str(unknown)
    except (NotPossible, NotLed, NotBegun) as refused:
        outcome, text = pb.SAGA_OUTCOME_REFUSED, str(refused)
    return pb.SagaResult(saga_id=target.saga_id, outcome=outcome, text=text)


async def _matching(led: Led, wanted: pb.SagaFilter, after: Place, *, limit: int) -> list[Found]:
    """The first ones of a partition, looked at in slices, so that what is under way hardly notices."""
    found, passes = list[Found](), led.look.passes(wanted)
    sagas = iter(list(led.partition.fold.sagas.items()))  # in the order of their start
    while part := list(islice(sagas, SAGAS_SLICE)):
        for saga_id, saga in part:
            place = saga.started_at_us, saga_id
            if len(found) >= limit and place[0] > found[-1].place[0]:
                return found
            if place > after and passes(saga_id, saga):
                found.append(Found(place, saga, seen_of(saga), led))
        await asyncio.sleep(0)
    return found


async def _reply(kind: type[M], raw: bytes, answer: Callable[[M], Awaitable[Message]]) -> Reply:
    try:
        return OK, (await answer(kind.FromString(raw))).SerializeToString()
    except DecodeError as error:
        return status(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", f"not a {kind.DESCRIPTOR.full_name}: {error}")
    except Invalid as problem:
        text = f"{problem.field}: {problem}"
        return status(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", text, field=problem.field)
    except tuple(REFUSALS) as problem:
        code, reason, retry_ms = REFUSALS[type(problem)]
        return status(code, reason, str(problem), retry_ms=retry_ms)
