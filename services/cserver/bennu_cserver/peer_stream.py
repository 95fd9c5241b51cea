"""The leader's end of a stream from another process: commands come in line here, and their answers go back."""

import asyncio
from collections.abc import Coroutine
from math import inf

from bennu.limits import PREPARE_CHUNK
from bennu.ops.answers import Context
from bennu.v1.peer_pb2 import PeerAnswers, PeerFrame, PeerOutcome, PeerSubmission
from bennu_cserver.command_loop import Partition
from bennu_cserver.intake import Intake, invalid
from bennu_cserver.local import Unsettled
from bennu_cserver.peer_link import room
from bennu_cserver.replies import overloaded
from bennu_cserver.routes import Routes
from bennu_cserver.slices import Slices, slices_of
from bennu_cserver.stream import check_frame
from bennu_cserver.submission import Caller, Reply, Submission
from bennu_cserver.work import Work


class PeerStream:
    """Parses and validates again what another process's edge has let in.  `serve` ends with the stream."""

    def __init__(self, routes: Routes, intake: Intake, slices: Slices, *, context: Context) -> None:
        self._routes = routes
        self._intake = intake
        self._slices = slices
        self._context = context
        self._out: list[PeerOutcome] = []
        self._wake = asyncio.Event()
        self._tasks = set[asyncio.Task[None]]()

    async def serve(self) -> None:
        """Raises `DecodeError` or `GarbageRecord` when what comes is no frame."""
        writing = asyncio.create_task(self._write())
        try:
            while isinstance(request := await self._context.read(), bytes):
                for submission in PeerFrame.FromString(request).submissions:
                    check_frame(submission.commands)
                    if len(submission.commands.payloads) <= PREPARE_CHUNK:
                        await self._take(submission)
                    else:  # what other clients send over this stream must not wait for all of it
                        self._start(self._take(submission))
        finally:
            tasks = [writing, *self._tasks]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)  # the asker is gone, if writing failed

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take(self, submission: PeerSubmission) -> None:
        work = Work.of(submission.commands)
        for part in slices_of(len(work.replies)):
            async with self._slices.of(len(part), submission.client):
                work.prepare(submission.commands, part, self._intake, routes=self._routes)
        if len(work.groups) == 1:
            self._put_in_line(submission, work)
            return
        if work.groups:
            wrong = invalid("the commands of a submission belong to one partition")
            work.replies[:] = [wrong.reply] * len(work.replies)
        self._say(submission.number, work, "")

    def _put_in_line(self, asked: PeerSubmission, work: Work) -> None:
        ((number, (indexes, commands)),) = work.groups.items()
        topic = self._routes.members[number].topic

        def done(decided: Submission, batch_no: int) -> None:
            for i, reply in zip(indexes, decided.replies, strict=True):
                work.replies[i] = reply
            self._say(asked.number, work, f"{topic}:{batch_no}" if batch_no >= 0 else "")

        submission = Submission(commands, done, caller=_caller(asked))
        submission.bytes = sum(map(len, asked.commands.payloads))
        partition = self._routes.led(number)
        if partition is None or partition.stopping:
            self._start(self._submit_soon(number, submission))
        else:
            _submit(partition, submission)

    async def _submit_soon(self, number: int, submission: Submission) -> None:
        try:
            _submit(await self._routes.soon_led(number), submission)
        except Unsettled as unsettled:
            _answer(submission, unsettled.reply)

    def _say(self, number: int, work: Work, token: str) -> None:
        found = [reply for reply in work.replies if reply is not None]
        codes, replies = [code for code, _ in found], [content for _, content in found]
        self._out.append(PeerOutcome(number=number, codes=codes, replies=replies, position=token))
        self._wake.set()

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._out:
                outcomes = self._out[: room(self._out)]
                del self._out[: len(outcomes)]
                await self._context.write(PeerAnswers(outcomes=outcomes).SerializeToString())


def _submit(partition: Partition, submission: Submission) -> None:
    if not partition.submit(submission):
        _answer(submission, overloaded(partition.retry_ms()))


def _answer(submission: Submission, reply: Reply) -> None:
    submission.replies = [reply] * len(submission.commands)
    submission.done(submission, -1)


def _caller(asked: PeerSubmission) -> Caller:
    now_s = asyncio.get_running_loop().time()
    return Caller(asked.client, now_s + asked.timeout_ms / 1000 if asked.timeout_ms else inf)
