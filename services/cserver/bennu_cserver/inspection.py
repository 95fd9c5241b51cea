"""`bennu.v1.Inspection`: the states in memory, for operators, from a partition that is led or followed here.

A page is made in slices of the event loop and no more than one at a time, so that commands hardly notice.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple, TypeVar

import grpc
import msgspec
from google.protobuf.message import DecodeError, Message

from bennu.domain.aggregate import State
from bennu.domain.app import AggregateKind
from bennu.limits import INSPECT_LIMIT, INSPECT_MAX_LIMIT, INSPECT_PAGE_BYTES, INSPECT_SCAN, INSPECT_SLICE
from bennu.ops.answers import OK, Context, end, status
from bennu.replica.fold import AggregateFold
from bennu.v1.inspection_pb2 import (
    Aggregate,
    AggregatePage,
    AggregateView,
    GetAggregate,
    ListAggregates,
    SearchAggregates,
)
from bennu.wire.partitioning import partition_of
from bennu_cserver import local
from bennu_cserver.conditions import Holds, conjunction
from bennu_cserver.edge import caller_of, checked
from bennu_cserver.intake import Refused, invalid
from bennu_cserver.local import Unsettled
from bennu_cserver.replies import UNKNOWN
from bennu_cserver.routes import Routes
from bennu_cserver.slices import let_others
from bennu_cserver.submission import Caller

SERVICE = "bennu.v1.Inspection"

M = TypeVar("M", bound=Message)
Wanted = ListAggregates | SearchAggregates


class Memory(NamedTuple):
    """What is known here of one partition's aggregates, and how to say where that stands once it is effective."""

    fold: AggregateFold
    position: Callable[[], Awaitable[str]]


class Inspection:
    """Handlers; each ends with a message or with a rich error."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._one_at_a_time = asyncio.Lock()

    def handlers(self) -> grpc.GenericRpcHandler:
        """The service, to be added to a server."""
        methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "GetAggregate": self._handler(GetAggregate, self.get),
            "ListAggregates": self._handler(ListAggregates, self.page),
            "SearchAggregates": self._handler(SearchAggregates, self.page),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def _handler(
        self, kind: type[M], answer: Callable[[M, Caller], Awaitable[Message]]
    ) -> "grpc.RpcMethodHandler[bytes, bytes]":
        async def handle(raw: bytes, context: Context) -> bytes:
            try:
                checked(context)
                found = await answer(_parsed(kind, raw), caller_of(context))
                return await end(context, (OK, found.SerializeToString()))
            except (Refused, Unsettled) as refused:
                return await end(context, refused.reply)

        made: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(handle)
        return made

    async def get(self, asked: GetAggregate, caller: Caller) -> AggregateView:
        """One aggregate.  Raises `Refused`, `Unsettled`."""
        number, kind = self._kind(asked.kind)
        memory = self._memory(partition_of(asked.key, len(self._routes.members)), caller)
        state = memory.fold.states[number].get(asked.key)
        found = None if state is None else _shown(kind, asked.key, state)
        position = await memory.position()
        if found is None:
            text = f"no event of a {kind.state.__name__} `{asked.key}` is in the journal, up to {position}"
            raise Refused(status(grpc.StatusCode.NOT_FOUND, "AGGREGATE_UNKNOWN", text), "aggregate_unknown", text)
        return AggregateView(aggregate=found, position=position)

    async def page(self, asked: Wanted, caller: Caller) -> AggregatePage:
        """Some aggregates, in the order of keys.  Raises `Refused`, `Unsettled`."""
        number, kind = self._kind(asked.kind)
        if not asked.partition < len(self._routes.members):
            raise invalid(f"there are {len(self._routes.members)} partitions, from 0 on", "partition")
        holds = conjunction(asked.conditions, kind.state) if isinstance(asked, SearchAggregates) else None
        async with self._one_at_a_time:
            memory = self._memory(asked.partition, caller)
            page = await _page(memory.fold.states[number], kind, asked, holds=holds)
            page.position = await memory.position()
        return page

    def _kind(self, name: str) -> tuple[int, AggregateKind]:
        kinds = self._routes.app.kinds
        for number, kind in enumerate(kinds):
            if name in (kind.state.__name__, kind.name):
                return number, kind
        raise invalid(f"no aggregate is a {name!r}; there are {', '.join(k.state.__name__ for k in kinds)}", "kind")

    def _memory(self, number: int, caller: Caller) -> Memory:
        member = self._routes.members[number]
        partition, followed = self._routes.led(number), member.followed
        if partition is not None:
            return Memory(partition.fold, lambda: local.effective(partition, caller=caller))
        if followed is None:
            raise Unsettled(UNKNOWN)
        replica, fold = followed

        async def position() -> str:
            return replica.position.token

        return Memory(fold, position)


def _parsed(kind: type[M], raw: bytes) -> M:
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise invalid(f"not a valid {kind.DESCRIPTOR.full_name}: {error}") from error


async def _page(
    states: Mapping[str, State], kind: AggregateKind, asked: Wanted, *, holds: Holds | None
) -> AggregatePage:
    limit = min(asked.limit or INSPECT_LIMIT, INSPECT_MAX_LIMIT)
    most = limit if holds is None else INSPECT_SCAN
    keys = await first_keys(list(states), asked.page_token, asked.prefix, most=most)
    page, size = AggregatePage(), 0
    for key in keys:
        if page.scanned % INSPECT_SLICE == 0:
            await let_others()
        state = states[key]
        page.scanned += 1
        page.next_page_token = key
        if holds is not None and not holds(state):
            continue
        shown = _shown(kind, key, state)
        if len(shown.state_json) > INSPECT_PAGE_BYTES:
            shown.state_json = ""
        page.aggregates.append(shown)
        size += shown.ByteSize()
        if len(page.aggregates) == limit or size >= INSPECT_PAGE_BYTES:
            return page
    if len(keys) < most:
        page.next_page_token = ""
    return page


async def first_keys(keys: Sequence[str], after: str, prefix: str, *, most: int) -> list[str]:
    """The first ones in order, of those after this one and with this prefix."""
    found: list[str] = []
    rest = iter(keys)
    while part := list(islice(rest, INSPECT_SLICE)):
        last = found[-1] if len(found) == most else None
        found = sorted([*found, *_fitting(part, after, prefix, last=last)])[:most]
        await let_others()
    return found


def _fitting(keys: Iterable[str], after: str, prefix: str, *, last: str | None) -> list[str]:
    return [key for key in keys if key > after and (last is None or key < last) and key.startswith(prefix)]


def _shown(kind: AggregateKind, key: str, state: State) -> Aggregate:
    return Aggregate(kind=kind.state.__name__, key=key, state_json=msgspec.json.encode(state).decode())
