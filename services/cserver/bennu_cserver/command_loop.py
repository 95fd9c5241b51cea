"""The write path, whole: what happens to a command between its arrival and its answer.

    submit → inbox → deduplicate → decide and evolve → open batch → seal → append → read as effective → answer

One `Partition` is one asyncio task.  While a batch is on its way to the log the next one is being filled, so the
more commands arrive, the more share one fsync.  Memory runs ahead of the log by at most those two batches; nobody
outside sees it before it is effective, and a leader that steps down drops it.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TypeVar

from bennu.limits import DECIDE_CHUNK, DECIDE_LATER, GATHER_SLICES, LOG_INPUTS, REPLY_TIMEOUT_MS
from bennu.replica.fold import AggregateFold
from bennu.replica.leader import Replica
from bennu.replica.pauses import Pauses
from bennu_cserver.deciding import decide_calls, decide_part
from bennu_cserver.inbox import Inbox
from bennu_cserver.replies import NOT_DECIDED, UNKNOWN
from bennu_cserver.submission import Submission
from bennu_cserver.waits import Waits

T = TypeVar("T")


class Partition:
    """The leader's work on one partition; `replica` already leads."""

    def __init__(self, replica: Replica, fold: AggregateFold, pauses: Pauses) -> None:
        self.replica = replica
        self.fold = fold
        self._pauses = pauses
        self._wake = asyncio.Event()
        self.stopping = False
        self.log_slots = asyncio.Semaphore(LOG_INPUTS)
        self._monotonic_s = asyncio.get_running_loop().time
        self._inbox = Inbox(self._monotonic_s)
        self.waits = Waits(REPLY_TIMEOUT_MS / 1000)
        self.retry_ms = self._inbox.retry_ms
        self._unanswered: dict[Submission, None] = {}

    def submit(self, submission: Submission) -> bool:
        """Put commands in line; False, and nothing was done, when there is no room."""
        if not self._inbox.put(submission):
            return False
        self._unanswered[submission] = None
        self._pauses.arrived(len(submission.commands), self.replica.topic, submission.caller.client)
        self._wake.set()
        return True

    async def lead(self) -> None:
        """Decide and append until told to stop and done.  Raises `SteppedDown`, or `Final` errors."""
        commit: asyncio.Task[None] | None = None
        slices, gathered = 0, True
        watch = self._start(self.replica.watch())
        try:
            while not (self.stopping and commit is None and not self._inbox and self.replica.open.empty):
                if not self._waits_for(commit):
                    self.decide_some()
                    slices += 1
                ripe = not self._inbox or self.replica.open.full or slices >= GATHER_SLICES
                if commit is None and not self.replica.open.empty and ripe:
                    opened = self.replica.open
                    if opened.filling and not gathered and (gathered := await self._pauses.gather(few=opened.small)):
                        continue
                    alone = len(self.replica.open.command_ids) <= 1  # as the next may be
                    slices, gathered = 0, alone and not self._pauses.gathering
                    commit = self._start(self.replica.commit(*self.replica.seal()))
                    self._pauses.append(commit)
                if not self._inbox or self.replica.open.full or self._waits_for(commit):
                    await self._wake.wait()
                else:
                    await self._pauses.pause(self.replica.topic)
                self._wake.clear()
                if commit is not None and commit.done():
                    commit = commit.result()
                if commit is None and watch.done():
                    self.replica.take(watch.result())
                    watch = self._start(self.replica.watch())
        finally:
            for task in filter(None, (commit, watch)):
                task.cancel()

    def _waits_for(self, commit: asyncio.Task[None] | None) -> bool:
        """Whether what is in line, which is few, is to be decided together once this batch is there."""
        few = self._inbox.commands < DECIDE_LATER and not self._inbox.questions
        return commit is not None and not commit.done() and few and not self.stopping

    def _start(self, work: Coroutine[None, None, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._wake.set())
        return task

    def stop(self) -> None:
        """Finish what is in line, then return from `lead`."""
        self.stopping = True
        self._wake.set()

    def turn_away(self) -> None:
        """Let go of what was not begun: another process is about to lead."""
        self._give_up([submission for submission in self._unanswered if not submission.next])

    def abandon(self) -> None:
        """Tell everybody who still waits that the outcome is unknown; memory is dropped with this object."""
        self._give_up(list(self._unanswered))

    def _give_up(self, submissions: Sequence[Submission]) -> None:
        self._inbox.clear()
        for submission in submissions:
            submission.replies = [UNKNOWN] * len(submission.commands)
            self._finish(submission, -1)

    def decide_some(self) -> None:
        """Decide what is in line, for one turn of the event loop."""
        budget, now_s, alone = self._pauses.slice_of(DECIDE_CHUNK), self._monotonic_s(), 0
        while self._inbox and budget > 0 and not self.replica.open.full:
            calls = () if alone else self._inbox.calls(budget)
            if len(calls) > 1 and (together := decide_calls(calls, self.fold, self.replica, now_s=now_s)):
                for call in together:
                    self._inbox.spend(1)
                    self._decided(call)
                budget -= len(together)
                continue
            alone = max(alone, len(calls), 1) - 1  # as many as could not be decided together
            submission, credit = self._inbox.first()
            begin, late = submission.next, NOT_DECIDED if submission.caller.deadline_s <= now_s else None
            commands = submission.commands[begin : begin + min(credit, budget)]
            decide_part(submission, commands, fold=self.fold, replica=self.replica, late=late)
            budget -= max(1, submission.next - begin)
            self._inbox.spend(submission.next - begin)
            if submission.next == len(submission.commands):
                self._decided(submission)

    def _decided(self, submission: Submission) -> None:
        if submission.input_topic:
            self.replica.tick()
            self.replica.open.inputs[submission.input_topic] = submission.read_on_at()
        self.replica.answer_when_effective(lambda number: self._finish(submission, number))

    def _finish(self, submission: Submission, batch_no: int) -> None:
        if submission not in self._unanswered:  # it was turned away while it waited for a batch
            return
        del self._unanswered[submission]
        self._inbox.answered(submission)
        if submission.input_topic:
            self.log_slots.release()
        submission.done(submission, batch_no)
