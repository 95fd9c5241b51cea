"""The write path, whole: what happens to a command between its arrival and its answer.

    submit → inbox → deduplicate → decide and evolve → open batch → seal → append → read as effective → answer

One `Partition` is one asyncio task.  While a batch is on its way to the log the next one is being filled, so the
more commands arrive, the more share one fsync.  Memory runs ahead of the log by at most those two batches; nobody
outside sees it before it is effective, and a leader that steps down drops it.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import TypeVar

from bennu.domain.aggregate import Context
from bennu.limits import DECIDE_CHUNK, INBOX_BYTES, INBOX_COMMANDS, LOG_INPUTS
from bennu.replica.fold import AggregateFold, Decision, refuse
from bennu.replica.leader import Replica
from bennu.v1.position_pb2 import LogPosition
from bennu_cserver.numbered import is_next, why_not_undone
from bennu_cserver.replies import ALREADY_EXISTS, FORGOTTEN, UNKNOWN, reply_of
from bennu_cserver.submission import Prepared, Submission

T = TypeVar("T")


class Partition:
    """The leader's work on one partition; `replica` already leads."""

    def __init__(self, replica: Replica, fold: AggregateFold) -> None:
        self.replica = replica
        self.fold = fold
        self.waiting_commands = 0
        self.waiting_bytes = 0
        self._wake = asyncio.Event()
        self.stopping = False
        self.log_slots = asyncio.Semaphore(LOG_INPUTS)
        self._inbox: deque[Submission] = deque()
        self._unanswered: dict[Submission, None] = {}

    def submit(self, submission: Submission) -> bool:
        """Put commands in line; False, and nothing was done, when the line is full."""
        full = self.waiting_commands >= INBOX_COMMANDS or self.waiting_bytes + submission.bytes > INBOX_BYTES
        if full and not submission.input_topic:  # records of the log wait in `log_slots` instead
            return False
        self.waiting_commands += len(submission.commands)
        self.waiting_bytes += submission.bytes
        self._inbox.append(submission)
        self._unanswered[submission] = None
        self._wake.set()
        return True

    async def lead(self) -> None:
        """Decide and append until told to stop and done.  Raises `SteppedDown`, or `Final` errors."""
        commit: asyncio.Task[None] | None = None
        watch = self._start(self.replica.watch())
        try:
            while not (self.stopping and commit is None and not self._inbox and self.replica.open.empty):
                self._decide_some()
                if commit is None and not self.replica.open.empty:
                    watch.cancel()
                    commit = self._start(self.replica.commit(*self.replica.seal()))
                if not self._inbox or self.replica.open.full:
                    await self._wake.wait()
                else:
                    await asyncio.sleep(0)  # let the edge and the log have their turn
                self._wake.clear()
                if commit is not None and commit.done():
                    commit = commit.result()
                if commit is None and watch.done():
                    self.replica.take(() if watch.cancelled() else watch.result())
                    watch = self._start(self.replica.watch())
        finally:
            for task in (commit, watch):
                if task is not None:
                    task.cancel()

    def _start(self, work: Coroutine[None, None, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._wake.set())
        return task

    def stop(self) -> None:
        """Finish what is in line, then return from `lead`."""
        self.stopping = True
        self._wake.set()

    def abandon(self) -> None:
        """Tell everybody who still waits that the outcome is unknown; memory is dropped with this object."""
        self._inbox.clear()
        for submission in list(self._unanswered):
            submission.replies = [UNKNOWN] * len(submission.commands)
            self._finish(submission, -1)

    def _decide_some(self) -> None:
        budget = DECIDE_CHUNK
        while self._inbox and budget > 0 and not self.replica.open.full:
            submission = self._inbox[0]
            while submission.next < len(submission.commands) and budget > 0 and not self.replica.open.full:
                self._decide(submission, submission.commands[submission.next])
                submission.next += 1
                budget -= 1
            if submission.next == len(submission.commands):
                self._inbox.popleft()
                self._decided(submission)

    def _decide(self, submission: Submission, command: Prepared) -> None:
        """One command: known already, refused, or decided into the open batch."""
        if submission.source and not is_next(submission, self.replica):
            return
        window = self.replica.state.window
        known = window.get(command.command_id)
        if known is not None:
            same = known.digest == command.digest
            submission.replies.append(reply_of(known.outcome, known.reply) if same else ALREADY_EXISTS)
            return
        if not submission.source and window.forgotten(command.command_id):
            submission.replies.append(FORGOTTEN)
            return
        decision = self._rule(command, self.replica.tick())
        self.replica.open.add(command, decision)
        window.add(command.command_id, command.digest, outcome=decision.outcome, reply=decision.answer)
        submission.replies.append(reply_of(decision.outcome, decision.answer))

    def _rule(self, command: Prepared, recorded_at_us: int) -> Decision:
        if command.rule is None or command.message is None:
            return refuse(*command.refusal)
        if command.compensates and (refusal := why_not_undone(command.compensates, self.replica.state.window)):
            return refuse(*refusal)
        context = Context(command.command_id, command.origin.actor, recorded_at_us)
        return self.fold.decide(command.rule, command.message, context)

    def _decided(self, submission: Submission) -> None:
        if submission.input_topic:
            position = LogPosition(topic=submission.input_topic, offset=submission.input_offset)
            self.replica.tick()
            self.replica.open.inputs[submission.input_topic] = position
        self.replica.answer_when_effective(lambda number: self._finish(submission, number))

    def _finish(self, submission: Submission, batch_no: int) -> None:
        self.waiting_commands -= len(submission.commands)
        self.waiting_bytes -= submission.bytes
        self._unanswered.pop(submission, None)
        if submission.input_topic:
            self.log_slots.release()
        submission.done(submission, batch_no)
