"""The typed gRPC service of a domain, served from its rules: any caller uses ordinary generated stubs.

Requests reach us as bytes, so that what can't be parsed is answered with INVALID_ARGUMENT and not by the transport.
"""

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from time import perf_counter
from typing import cast

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from bennu.domain.app import QueryRule
from bennu.ops.answers import Context, end
from bennu_cserver.intake import Intake, Refused, invalid, origin_of
from bennu_cserver.observed import Observed
from bennu_cserver.path import Path
from bennu_cserver.routes import Routes, Wanted
from bennu_cserver.submission import Caller, Prepared

Handler = Callable[[bytes, Context], Awaitable[bytes]]

KNOWN_METADATA = frozenset(
    {
        "bennu-actor",
        "bennu-consistency",
        "bennu-correlation-id",
        "bennu-dry-run",
        "bennu-min-position",
        "bennu-reason",
        "bennu-reason-bin",
    }
)
DRY_RUN = "bennu-dry-run"
DRY_RUN_EVENTS = "bennu-dry-run-events-bin"
MAX_EVENTS_BYTES = 4096
"""Of a dry run's events among the trailing metadata, of which clients take little; the stream has no such bound."""

MAX_DIGITS = 20
"""Of a batch's number, which has 64 bits."""


class Edge:
    """Handlers by method; each ends with the reply's bytes or with a rich error."""

    def __init__(self, routes: Routes, intake: Intake, observed: Observed) -> None:
        self._routes = routes
        self._intake = intake
        self._observed = observed

    def handlers(self) -> grpc.GenericRpcHandler:
        """The domain's service, to be added to a server."""
        service = self._routes.app.service
        methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            m.name: grpc.unary_unary_rpc_method_handler(self._handler(m)) for m in service.methods
        }
        return grpc.method_handlers_generic_handler(service.full_name, methods)

    def _handler(self, method: MethodDescriptor) -> Handler:
        name = method.input_type.full_name
        query = self._routes.app.queries.get(name)

        async def handle(request: bytes, context: Context) -> bytes:
            try:
                metadata = checked(context)
                if query is not None:
                    return await self._query(query, request, metadata, context=context)
                return await self._command(name, request, metadata, context=context)
            except Refused as refused:
                self._observed.refused.inc()
                return await end(context, refused.reply)

        return handle

    async def _command(self, name: str, request: bytes, metadata: dict[str, str | bytes], *, context: Context) -> bytes:
        began_s, path = perf_counter(), self._observed.paths.sample()
        key = metadata.get("idempotency-key")
        command_id = None if key is None else str(key)
        prepared = self._intake.command(name, request, command_id, origin=origin_of(metadata))
        if _is_dry_run(metadata):
            return await self._try_out(prepared, context)
        number = self._routes.partition_of(prepared)
        replies, token = await self._routes.submit(number, (prepared,), len(request), caller=caller_of(context, path))
        self._observed.unary.inc()
        self._observed.unary_seconds.observe(perf_counter() - began_s)
        answer = await end(context, replies[0], (("bennu-position", token), ("idempotency-key", prepared.command_id)))
        self._observed.paths.answered(path)
        return answer

    async def _try_out(self, command: Prepared, context: Context) -> bytes:
        (reply, found), token = await self._routes.try_out(command, caller=caller_of(context))
        if found.ByteSize() > MAX_EVENTS_BYTES:
            del found.events[:]
        events = found.SerializeToString()
        return await end(context, reply, (("bennu-position", token), (DRY_RUN, "true"), (DRY_RUN_EVENTS, events)))

    async def _query(
        self, rule: QueryRule, request: bytes, metadata: dict[str, str | bytes], *, context: Context
    ) -> bytes:
        consistency = str(metadata.get("bennu-consistency", "default"))
        if consistency not in ("default", "linearizable"):
            raise invalid("bennu-consistency is `default` or `linearizable`", "bennu-consistency")
        query = self._intake.query(rule, request)
        wanted = Wanted(consistency == "linearizable", self._least(rule, query, metadata))
        reply, token = await self._routes.ask(rule, query, wanted, caller=caller_of(context))
        self._observed.queries.inc()
        return await end(context, reply, (("bennu-position", token),))

    def _least(self, rule: QueryRule, query: Message, metadata: dict[str, str | bytes]) -> int:
        """The batch that a query must not be answered before; 0 where the position is another partition's."""
        token = metadata.get("bennu-min-position")
        if token is None:
            return 0
        topic, _, number = str(token).rpartition(":")
        if topic not in self._routes.topics or not number.isascii() or not number.isdigit() or len(number) > MAX_DIGITS:
            raise invalid("a position is what `bennu-position` of an earlier answer said", "bennu-min-position")
        return int(number) if topic == self._routes.topic_of(rule.key(query)) else 0


def checked(context: Context) -> dict[str, str | bytes]:
    """The call's metadata; a misspelt name of ours is refused rather than passed over."""
    metadata = dict(context.invocation_metadata() or ())
    for name in metadata:
        if name.startswith("bennu-") and name not in KNOWN_METADATA:
            raise invalid(f"no metadata is called {name}; there are {', '.join(sorted(KNOWN_METADATA))}", name)
    return metadata


def _is_dry_run(metadata: dict[str, str | bytes]) -> bool:
    said = metadata.get(DRY_RUN, "false")
    if said not in ("true", "false"):
        raise invalid(f"{DRY_RUN} is `true` or `false`", DRY_RUN)
    return said == "true"


def caller_of(context: Context, path: Path | None = None) -> Caller:
    """The connection, and until when whoever is behind it waits."""
    remaining_s = cast(float | None, context.time_remaining())  # the published types leave out that there may be none
    deadline_s = inf if remaining_s is None else asyncio.get_running_loop().time() + remaining_s
    return Caller(context.peer(), deadline_s, path)
