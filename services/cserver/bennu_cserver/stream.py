"""The batched stream: frames of commands in, frames of replies out, many frames at work at a time."""

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from math import inf
from operator import itemgetter
from time import perf_counter

import grpc
from google.protobuf.message import DecodeError

from bennu.limits import MAX_FRAME_BYTES, MAX_FRAME_COMMANDS, STREAM_FRAMES
from bennu.ops.answers import Context, end, status
from bennu.v1.command_pb2 import CommandBatch, Origin
from bennu.v1.stream_pb2 import CommandFrame, DryRun, ReplyFrame
from bennu_cserver.edge import checked
from bennu_cserver.intake import Intake, Refused, invalid, origin_of
from bennu_cserver.log_input import GarbageRecord, check_columns
from bennu_cserver.observed import Observed
from bennu_cserver.path import Path
from bennu_cserver.routes import Routes
from bennu_cserver.slices import Slices, slices_of
from bennu_cserver.submission import Caller
from bennu_cserver.work import Work

SERVICE = "bennu.v1.CommandStream"
_code_of, _content_of = itemgetter(0), itemgetter(1)


class Stream:
    """Serves `bennu.v1.CommandStream/Execute`."""

    def __init__(self, routes: Routes, intake: Intake, observed: Observed) -> None:
        self._routes = routes
        self._intake = intake
        self._observed = observed
        self._slices = Slices(routes.members[0].pauses)

    def handlers(self) -> grpc.GenericRpcHandler:
        """The service, to be added to a server."""
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(self._execute)
        return grpc.method_handlers_generic_handler(SERVICE, {"Execute": handler})

    async def _execute(self, _requests: object, context: Context) -> None:
        try:
            origin = origin_of(checked(context))
            refused = await self._answer_frames(context, origin)
        except Refused as error:
            refused = error
        if refused is not None:
            self._observed.refused.inc()
            await end(context, refused.reply)

    async def _answer_frames(self, context: Context, origin: Origin) -> Refused | None:
        """Until the client ends the stream, or sends a frame that is none: then, once those before it are answered."""
        slots, order, writing = asyncio.Semaphore(STREAM_FRAMES), asyncio.Lock(), asyncio.Lock()
        problem: Refused | None = None
        async with asyncio.TaskGroup() as group:
            while isinstance(request := await context.read(), bytes):
                await slots.acquire()
                try:
                    frame = parse_frame(request)
                except Refused as refused:
                    problem = refused
                    break
                task = group.create_task(self._answer(frame, origin, context, order=order, writing=writing))
                task.add_done_callback(lambda _: slots.release())
        return problem

    async def _answer(
        self, frame: CommandFrame, origin: Origin, context: Context, *, order: asyncio.Lock, writing: asyncio.Lock
    ) -> None:
        began_s, path = perf_counter(), self._observed.paths.sample()
        answer = await self.answer(frame, origin, client=context.peer(), path=path, order=order)
        self._observed.streamed.inc(len(answer.codes))
        self._observed.frame_seconds.observe(perf_counter() - began_s)
        async with writing:
            with suppress(grpc.aio.InternalError):  # the client is gone; it repeats what it has no answer to
                await context.write(answer.SerializeToString())
        self._observed.paths.answered(path)

    async def answer(
        self,
        frame: CommandFrame,
        origin: Origin,
        *,
        client: str = "",
        path: Path | None = None,
        order: asyncio.Lock | None = None,
    ) -> ReplyFrame:
        """Decide all commands of a frame; those refused beforehand are answered in their place.

        `order` is held while they are prepared: frames that share one come in line as they came in.
        """
        caller = Caller(client, deadline_s(frame), path)
        work = Work.of(frame.commands)
        async with order or nullcontext():
            for part in slices_of(len(work.replies), self._slices.size):
                async with self._slices.of(len(part), client):
                    work.prepare(frame.commands, part, self._intake, routes=self._routes, by=origin)
        tried: Sequence[DryRun] = ()
        if frame.dry_run:
            positions, tried = await self._try_out(work, caller._replace(path=None))
        else:
            positions = await self._submit(work, sum(map(len, frame.commands.payloads)), caller)
        found = list(filter(None, work.replies))
        return ReplyFrame(
            frame_id=frame.frame_id,
            codes=map(_code_of, found),
            replies=map(_content_of, found),
            command_ids=work.ids,
            positions=positions,
            dry_runs=tried,
        )

    async def _try_out(self, work: Work, caller: Caller) -> tuple[Sequence[str], Sequence[DryRun]]:
        """Each command by itself: the positions of the states, and what each would have written."""
        tokens, tried = set(), [DryRun() for _ in work.replies]
        for indexes, commands in work.groups.values():
            for i, command in zip(indexes, commands, strict=True):
                (work.replies[i], tried[i]), token = await self._routes.try_out(command, caller=caller)
                tokens.add(token)
        return sorted(tokens - {""}), tried

    async def _submit(self, work: Work, size_bytes: int, caller: Caller) -> Sequence[str]:
        """Fill in the replies of each partition's share; the position tokens."""
        asked = []
        for number, (_, commands) in work.groups.items():
            asked.append(self._routes.submit(number, commands, size_bytes, caller=caller))
            caller = caller._replace(path=None)  # the first partition's share is measured
        answers = [await asked[0]] if len(asked) == 1 else await asyncio.gather(*asked)
        for (indexes, _), (answered, _) in zip(work.groups.values(), answers, strict=True):
            if len(indexes) == len(work.replies):  # all of the frame
                work.replies[:] = answered
                continue
            for i, reply in zip(indexes, answered, strict=True):
                work.replies[i] = reply
        return [token for _, token in answers if token]


def parse_frame(request: bytes) -> CommandFrame:
    """A frame whose columns fit together.  Raises `Refused`, which ends the stream."""
    if len(request) > MAX_FRAME_BYTES:
        text = f"a frame of {len(request)} bytes; at most {MAX_FRAME_BYTES} are taken"
        raise Refused(status(grpc.StatusCode.RESOURCE_EXHAUSTED, "FRAME_TOO_LARGE", text), "frame_too_large", text)
    try:
        frame = CommandFrame.FromString(request)
        check_frame(frame.commands)
    except (DecodeError, GarbageRecord) as error:
        raise invalid(f"not a valid bennu.v1.CommandFrame: {error}") from error
    return frame


def deadline_s(frame: CommandFrame) -> float:
    """Until when its sender waits, by the event loop's clock."""
    return asyncio.get_running_loop().time() + frame.timeout_ms / 1000 if frame.timeout_ms else inf


def check_frame(batch: CommandBatch) -> None:
    """What a client may send, beyond what a log may hold."""
    check_columns(batch)
    if len(batch.payloads) > MAX_FRAME_COMMANDS:
        raise GarbageRecord(f"{len(batch.payloads)} commands; a frame takes at most {MAX_FRAME_COMMANDS}")
    if batch.source or batch.compensates or batch.repeats:
        raise GarbageRecord("`source`, `compensates` and `repeats` are for sagas, which write to the command log")
