"""The saga path, whole: what happens between an event and the commands that follow from it.

    submit → inbox → react and evolve → open batch → seal → append → read as effective → dispatch
    operate ↗                                                                        ↘ answer the operator

React, journal, dispatch, in this order.  What a crash means between two of them:

* before the append: the records and the input positions go together, so the same events are read and reacted to again;
* after the append, before the dispatch: the commands are in the journal, the outbox; the next leader sends them;
* after the dispatch, before its receipt is journaled: the next leader sends them again, and CServer drops the numbers
  that it took.

One `Partition` is one asyncio task; many sagas, and several inputs, share one append.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import NamedTuple, TypeVar

from bennu.replica.decision import journaled
from bennu.replica.journal import Position
from bennu.replica.leader import Replica
from bennu.v1.command_pb2 import Origin
from bennu.v1.journal_pb2 import EventBatch
from bennu.v1.position_pb2 import LogPosition
from bennu.v1.saga_pb2 import SagaInputPart
from bennu_saga.fold import Record, SagaFold
from bennu_saga.limits import INPUT_BATCHES, LAZY_MS, REACT_CHUNK
from bennu_saga.operations import NotPossible
from bennu_saga.reactor import Note, Reactor
from bennu_saga.requests import Request, Waiters
from bennu_saga.signals import Answer, Heard, Signal

ORIGIN = Origin(actor="saga")
NO_DIGEST = bytes(16)

T = TypeVar("T")


class Cause(NamedTuple):
    """What an entry of the journal reacts to, in the columns that a command has in CServer's."""

    command_id: str
    type_name: str
    digest: bytes = NO_DIGEST
    origin: Origin = ORIGIN


class Delivery:
    """A batch of an event journal, as signals; and where to read on once all of its effects are journaled."""

    __slots__ = ("batch_no", "journaled", "next", "position", "signals", "taken_no")

    def __init__(self, signals: Sequence[Signal], position: Position, batch_no: int, *, taken_no: int = 0) -> None:
        self.signals = signals
        self.position = position
        self.batch_no = batch_no
        self.taken_no = taken_no
        """The greatest number of our commands that it took; 0 if it took none."""
        self.next = 0
        """Index of the signal to be reacted to next."""
        self.journaled = 0
        """Signals before this one are in batches that are sealed."""


class Partition:
    """The leader's work on one partition; `replica` already leads."""

    def __init__(self, replica: Replica, fold: SagaFold, reactor: Reactor) -> None:
        self.replica = replica
        self.fold = fold
        self.input_slots = asyncio.Semaphore(INPUT_BATCHES)
        self.when_effective: list[Callable[[], None]] = []
        """Called, by `lead`, when what was sealed is effective: commands may be sent."""
        self._notes: list[Note] = []
        self.seen: dict[str, int] = {position.topic: position.offset for position in replica.state.inputs.values()}
        """Offsets of the input journals up to which everything was reacted to."""
        self.answers_seen_us = 0
        """Whatever was journaled as answered before this time was reacted to: timers due by then may fire."""
        self._reactor = reactor
        self._inbox: deque[Delivery] = deque()
        self._requests: deque[Request] = deque()
        self.waiters = Waiters(replica)
        """Operators who wait until what they are to be told is effective."""
        self._positions: dict[str, LogPosition] = {}
        self._receipts: dict[str, int] = {}
        self._heads: dict[str, int] = {}
        self._sealed_notes: list[Note] = []
        self._sealed_at = 0.0
        self._wake = asyncio.Event()
        self._stopping = False
        fold.outbox.allow(fold.outbox.heads())  # whatever a new leader has read is effective

    def submit(self, delivery: Delivery) -> None:
        """Put a batch in line; the caller holds one of `input_slots`."""
        part = self.fold.parts.get(delivery.position.topic)
        if part is not None and part.batch_no == delivery.batch_no:
            delivery.signals = [signal for signal in delivery.signals if signal.entry >= part.entries]
        self._inbox.append(delivery)
        self._wake.set()

    def operate(self, request: Request) -> None:
        """Put an operator's decision in line; it has its turn before further events."""
        self._requests.append(request)
        self._wake.set()

    def abandon(self) -> None:
        """This leadership is over: whoever still waits hears that."""
        self.waiters.abandon()
        for request in self._requests:
            request.abandon()

    def confirmed(self, destination: str, last_no: int) -> None:
        """A command log has everything up to this number."""
        self.fold.outbox.box(destination).confirm(last_no)
        self._receipts[destination] = last_no
        self._wake.set()

    async def still_leads(self) -> None:
        """Return once something journaled after this call is effective: until then nobody else has led."""
        proof: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.replica.tick()
        self.replica.open.forced = True
        self.waiters.add(proof)
        self._wake.set()
        await proof

    def wake(self) -> None:
        """Look again: time has passed."""
        self._wake.set()

    async def lead(self) -> None:
        """React and append until told to stop.  Raises `SteppedDown`, or `Final` errors."""
        commit: asyncio.Task[None] | None = None
        watch = self._start(self.replica.watch())
        try:
            while not (self._stopping and commit is None and not self.worth_sealing()):
                self.react_some()
                if commit is None and self.worth_sealing():
                    watch.cancel()
                    commit = self._start(self.replica.commit(*self.seal()))
                if not ((self._inbox or self._requests) and self._may_react()):
                    await self._wake.wait()
                else:
                    await asyncio.sleep(0)  # let readers and dispatchers have their turn
                self._wake.clear()
                if commit is not None and commit.done():
                    commit = commit.result()
                    self.let_go()
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

    @property
    def stopping(self) -> bool:
        """Nothing is reacted to any more."""
        return self._stopping

    def stop(self) -> None:
        """React to nothing more; journal what was reacted to, then return from `lead`."""
        self._stopping = True
        self._wake.set()

    # --- react

    def _may_react(self) -> bool:
        return not (self._stopping or self.replica.open.full or self.fold.outbox.full)

    def react_some(self) -> None:
        """Fire what is due and react to what is in line, for one turn of the event loop."""
        budget = REACT_CHUNK
        while budget > 0 and self._may_react() and self.timer_due(self.answers_seen_us):
            self._fire()
            budget -= 1
        while budget > 0 and self._may_react() and self._requests:
            self._operate(self._requests.popleft())
            budget -= 1
        while budget > 0 and self._may_react() and self._inbox:
            delivery = self._inbox[0]
            if delivery.next < len(delivery.signals):
                self._react(delivery)
                budget -= 1
            if delivery.next == len(delivery.signals):
                self._inbox.popleft()
                self._reacted(delivery)

    def _react(self, delivery: Delivery) -> None:
        """All signals of one entry, as one entry: a batch of ours may end after it, never within."""
        now_us = self.replica.tick()
        entry = delivery.signals[delivery.next].entry
        records: list[Record] = []
        while delivery.next < len(delivery.signals) and delivery.signals[delivery.next].entry == entry:
            signal = delivery.signals[delivery.next]
            if isinstance(signal, Answer):
                records += self._reactor.answer(signal, now_us)
            elif isinstance(signal, Heard):
                records += self._reactor.hear(signal, now_us)
            else:
                records += self._reactor.start(signal, now_us)
            delivery.next += 1
        self._journal(f"{delivery.position.topic}/{delivery.batch_no}/{entry}", records)

    def _reacted(self, delivery: Delivery) -> None:
        position = delivery.position
        self._positions[position.topic] = position.to_proto()
        self.seen[position.topic] = position.offset
        self.input_slots.release()

    def timer_due(self, at_us: int) -> bool:
        """Whether a timer is due at this journaled time."""
        timer = self.fold.next_timer()
        return timer is not None and timer[0] <= at_us

    def _fire(self) -> None:
        timer = self.fold.next_timer()
        assert timer is not None, "it is due"
        now_us = self.replica.tick()
        _, saga_id, step = timer
        self._journal(f"timer/{saga_id}/{step}", self._reactor.fire(saga_id, step, now_us))

    def _operate(self, request: Request) -> None:
        if request.given_up:
            return
        try:
            request.check(self.fold.sagas.get(request.saga_id))
            request.records = self._reactor.operate(request.saga_id, request.decision, self.replica.tick())
            self._journal(f"operator/{request.saga_id}", request.records)
        except NotPossible as refused:
            request.refusal = str(refused)
        request.decided(self.waiters)

    def _journal(self, cause: str, records: Sequence[Record]) -> None:
        if records:
            types = [record.DESCRIPTOR.full_name for record in records]
            raw = [record.SerializeToString() for record in records]
            self.replica.open.add(Cause(cause, types[0]), journaled(types, raw))

    # --- journal

    def worth_sealing(self) -> bool:
        """Whether there are effects, or positions that are old enough."""
        if self.replica.open.command_ids or self.replica.open.forced:
            return True
        if not (self._positions or self._receipts):
            return False
        return self._stopping or asyncio.get_running_loop().time() >= self._sealed_at + LAZY_MS / 1000

    def seal(self) -> tuple[bytes, EventBatch]:
        """The record of all that was reacted to, with positions and receipts."""
        self.replica.tick()
        if self._inbox and self._inbox[0].next > self._inbox[0].journaled:
            self._journal_part(self._inbox[0])
        self.replica.open.inputs.update(self._positions)
        self.replica.open.outboxes.update(self._receipts)
        self._positions, self._receipts = {}, {}
        self._heads = self.fold.outbox.heads()
        self._sealed_notes, self._reactor.notes = self._reactor.notes, []
        self._sealed_at = asyncio.get_running_loop().time()
        return self.replica.seal()

    def _journal_part(self, delivery: Delivery) -> None:
        """How far this batch of ours goes within one of theirs, so that the rest is reacted to, and only the rest."""
        topic, delivery.journaled = delivery.position.topic, delivery.next
        entries = delivery.signals[delivery.next - 1].entry + 1
        part = SagaInputPart(topic=topic, batch_no=delivery.batch_no, entries=entries)
        self.fold.evolve(part)
        self._journal(f"{topic}/{delivery.batch_no}", [part])

    # --- dispatch

    def let_go(self) -> None:
        """What was sealed is effective: its commands may be sent, and its notes be said."""
        self.fold.outbox.allow(self._heads)
        self._notes += self._sealed_notes
        self._sealed_notes = []
        for tell in self.when_effective:
            tell()

    def take_notes(self) -> Sequence[Note]:
        """What became effective since the last call and should be said."""
        notes, self._notes = self._notes, []
        return notes
