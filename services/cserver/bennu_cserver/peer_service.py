"""`bennu.v1.Peer`: what other processes of the service ask of this one.  Answered only for partitions led here."""

import grpc
from google.protobuf.message import DecodeError

from bennu.ops.answers import Context
from bennu.v1.members_pb2 import Seat
from bennu.v1.peer_pb2 import GaveUpHeard, PeerAnswer, PeerQuery
from bennu.v1.stream_pb2 import DryRun, ReplyFrame
from bennu_cserver import local
from bennu_cserver.edge import caller_of
from bennu_cserver.intake import Intake, Refused, invalid
from bennu_cserver.local import Unsettled
from bennu_cserver.log_input import GarbageRecord
from bennu_cserver.origins import origins_of
from bennu_cserver.peer_stream import PeerStream
from bennu_cserver.peers import CLIENT
from bennu_cserver.routes import Routes
from bennu_cserver.slices import Slices
from bennu_cserver.stream import parse_frame
from bennu_cserver.submission import Caller, Prepared

SERVICE = "bennu.v1.Peer"


class PeerService:
    """Takes what another process's edge has let in; parsed and validated here again."""

    def __init__(self, routes: Routes, intake: Intake) -> None:
        self._routes = routes
        self._intake = intake
        self._slices = Slices(routes.members[0].pauses)

    def handlers(self) -> grpc.GenericRpcHandler:
        """The service, to be added to a server."""
        submit: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(self._submit)
        try_out: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(self._try_out)
        ask: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(self._ask)
        gave_up: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(self._gave_up)
        return grpc.method_handlers_generic_handler(
            SERVICE, {"Submit": submit, "TryOut": try_out, "Ask": ask, "GaveUp": gave_up}
        )

    async def _submit(self, _requests: object, context: Context) -> None:
        try:
            await self.stream(context).serve()
        except (DecodeError, GarbageRecord) as problem:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"not a valid bennu.v1.PeerFrame: {problem}")

    def stream(self, context: Context) -> PeerStream:
        """One that begins."""
        return PeerStream(self._routes, self._intake, self._slices, context=context)

    async def _try_out(self, request: bytes, context: Context) -> bytes:
        try:
            batch = parse_frame(request).commands
            type_name = batch.types[batch.type_indexes[0]]
            command_id = batch.command_ids[0] if batch.command_ids else None
            (origin,) = origins_of(batch, range(1))
            command = self._intake.command(type_name, batch.payloads[0], command_id, origin=origin)
        except Refused as refused:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(refused))
        return (await self._tried(command, _caller(context))).SerializeToString()

    async def _tried(self, command: Prepared, caller: Caller) -> ReplyFrame:
        """The only one of a frame that is a dry run."""
        try:
            partition = await self._routes.soon_led(self._routes.partition_of(command))
            (reply, found), token = await local.try_out(partition, command, caller=caller)
        except Unsettled as unsettled:
            reply, found, token = unsettled.reply, DryRun(), ""
        return ReplyFrame(codes=[reply[0]], replies=[reply[1]], positions=[token] if token else [], dry_runs=[found])

    async def _gave_up(self, request: bytes, context: Context) -> bytes:
        try:
            self._routes.gave_up_elsewhere(Seat.FromString(request))
        except DecodeError as problem:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"not a valid bennu.v1.Seat: {problem}")
        return GaveUpHeard().SerializeToString()

    async def _ask(self, request: bytes, context: Context) -> bytes:
        try:
            asked = PeerQuery.FromString(request)
            rule = self._routes.app.queries.get(asked.type)
            if rule is None:
                raise invalid(f"{asked.type!r} is not a query of this app")
            query = self._intake.query(rule, asked.payload)
        except (DecodeError, Refused) as problem:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(problem))
        try:
            partition = await self._routes.soon_led_for(rule.key(query))
            reply, token = await local.answer(
                partition, rule, query, linearizable=asked.linearizable, caller=_caller(context)
            )
        except Unsettled as unsettled:
            reply, token = unsettled.reply, ""
        return PeerAnswer(code=reply[0], reply=reply[1], position=token).SerializeToString()


def _caller(context: Context) -> Caller:
    caller = caller_of(context)
    client = dict(context.invocation_metadata() or ()).get(CLIENT)
    return caller._replace(client=str(client)) if client else caller
