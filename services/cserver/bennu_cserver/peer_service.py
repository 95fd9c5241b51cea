"""`bennu.v1.Peer`: what other processes of the service ask of this one.  Answered only for partitions led here."""

import asyncio

import grpc
from google.protobuf.message import DecodeError

from bennu.v1.command_pb2 import CommandBatch, Origin
from bennu.v1.peer_pb2 import PeerAnswer, PeerQuery
from bennu.v1.stream_pb2 import CommandFrame, DryRun, ReplyFrame
from bennu_cserver import local
from bennu_cserver.edge import Context, caller_of
from bennu_cserver.intake import Intake, Refused, invalid
from bennu_cserver.local import Unsettled
from bennu_cserver.origins import origin_at
from bennu_cserver.peers import CLIENT
from bennu_cserver.routes import Routes
from bennu_cserver.slices import let_others, slices_of
from bennu_cserver.stream import parse_frame
from bennu_cserver.submission import Caller, Prepared

SERVICE = "bennu.v1.Peer"


class PeerService:
    """Takes what another process's edge has let in; parsed and validated here again."""

    def __init__(self, routes: Routes, intake: Intake) -> None:
        self._routes = routes
        self._intake = intake
        self._slice = asyncio.Lock()

    def handlers(self) -> grpc.GenericRpcHandler:
        """The service, to be added to a server."""
        execute: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(self._execute)
        ask: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(self._ask)
        return grpc.method_handlers_generic_handler(SERVICE, {"Execute": execute, "Ask": ask})

    async def _execute(self, request: bytes, context: Context) -> bytes:
        try:
            frame = parse_frame(request)
            commands = await self._commands(frame)
        except Refused as refused:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(refused))
        if frame.dry_run:
            return (await self._tried(commands[0], _caller(context))).SerializeToString()
        replies, token = await self._decided(commands, len(request), _caller(context))
        return ReplyFrame(
            codes=[code for code, _ in replies],
            replies=[content for _, content in replies],
            command_ids=[command.command_id for command in commands],
            positions=[token] if token else [],
        ).SerializeToString()

    async def _commands(self, frame: CommandFrame) -> list[Prepared]:
        batch = frame.commands
        commands: list[Prepared] = []
        for part in slices_of(len(batch.payloads)):
            async with self._slice:
                await let_others()
                commands.extend(self._prepared(batch, i) for i in part)
        if len({self._routes.partition_of(command) for command in commands}) != 1:
            raise invalid("all commands of a peer's frame belong to one partition")
        return commands

    def _prepared(self, batch: CommandBatch, i: int) -> Prepared:
        return self._intake.command(
            batch.types[batch.type_indexes[i]],
            batch.payloads[i],
            batch.command_ids[i] if batch.command_ids else None,
            origin=origin_at(batch, i) if batch.origins else Origin(),
        )

    async def _decided(self, commands: list[Prepared], size_bytes: int, caller: Caller) -> local.Answered:
        try:
            partition = self._routes.leading(self._routes.partition_of(commands[0]))
            return await local.decide(partition, commands, size_bytes, caller=caller)
        except Unsettled as unsettled:
            return [unsettled.reply] * len(commands), ""

    async def _tried(self, command: Prepared, caller: Caller) -> ReplyFrame:
        """The only one of a frame that is a dry run."""
        try:
            partition = self._routes.leading(self._routes.partition_of(command))
            (reply, found), token = await local.try_out(partition, command, caller=caller)
        except Unsettled as unsettled:
            reply, found, token = unsettled.reply, DryRun(), ""
        return ReplyFrame(codes=[reply[0]], replies=[reply[1]], positions=[token] if token else [], dry_runs=[found])

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
            partition = self._routes.leading_for(rule.key(query))
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
