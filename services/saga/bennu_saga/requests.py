"""Operators who wait: for their decision to have its turn, and for what they are told to be effective."""

import asyncio
import hashlib
from collections.abc import Sequence

from bennu.errors import BennuError
from bennu.replica.agreement import encode_state
from bennu.replica.leader import Replica
from bennu_saga.fold import Record
from bennu_saga.limits import OPERATOR_TIMEOUT_MS
from bennu_saga.operations import NotPossible, Operation
from bennu_saga.state import SagaState


def seen_of(saga: SagaState) -> str:
    """A name of this state: a saga that went on has another one."""
    return hashlib.blake2b(encode_state(saga), digest_size=8).hexdigest()


def check_seen(saga: SagaState | None, seen: str) -> None:
    """Raise `NotPossible` if this is not the state of this name; an empty one means any."""
    if seen and saga is not None and seen_of(saga) != seen:
        raise NotPossible("it has gone on since it was looked at: look again, and decide on what is there now")


class NotLed(BennuError):
    """Whoever was asked does not lead the partition, or not any more; nothing was done."""


class NotBegun(BennuError):
    """Its turn did not come in time; it is not done, and will not be."""


class OutcomeUnknown(BennuError):
    """No answer became effective: what was decided may be done all the same."""


class Late(OutcomeUnknown):
    """Or not in time."""


class Waiters:
    """Answers that are given once all that was in memory when they were made is effective."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._waiting: set[asyncio.Future[str]] = set()
        self._over = False

    def add(self, waiting: "asyncio.Future[str]") -> None:
        """Have it end with the position where all that is in memory now stands; empty if that never is effective."""
        if self._over:
            waiting.set_result("")
            return

        def answer(batch_no: int) -> None:
            if not waiting.done():  # who waits may have given up
                waiting.set_result(f"{self._replica.topic}:{batch_no}")

        self._waiting.add(waiting)
        waiting.add_done_callback(self._waiting.discard)
        self._replica.answer_when_effective(answer)

    def abandon(self) -> None:
        """The leadership is over: whoever waits hears that, and so does whoever comes after."""
        self._over = True
        for waiting in list(self._waiting):
            if not waiting.done():
                waiting.set_result("")


class Request:
    """An operator's decision about one saga, in line."""

    def __init__(self, saga_id: str, decision: Operation, *, seen: str = "") -> None:
        """`seen`: the state that it was made on; empty: it is meant for any."""
        self.saga_id = saga_id
        self.decision = decision
        self.saga: SagaState | None = None
        self.records: Sequence[Record] = ()
        self._seen = seen
        self.refusal = ""
        """Why it is not possible: nothing was done."""
        self._begun = False
        self._answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def given_up(self) -> bool:
        """Nobody waits for it any more: it is not to be done."""
        return self._answer.done()

    def check(self, saga: SagaState | None) -> None:
        """Its turn has come.  Raises `NotPossible` if this is not the state that it was made on."""
        self.saga = saga
        check_seen(saga, self._seen)

    def decided(self, waiters: Waiters) -> None:
        """It is done, or refused, in memory."""
        self._begun = True
        waiters.add(self._answer)

    def abandon(self) -> None:
        """It never had its turn."""
        if not self._answer.done():
            self._answer.set_result("")

    async def settled(self) -> str:
        """The position where it is done.  Raises `NotPossible`, `NotLed`, `NotBegun`, or `OutcomeUnknown`."""
        try:
            position = await in_time(self._answer)
        except OutcomeUnknown as unknown:
            if self._begun:
                raise OutcomeUnknown(f"{unknown}; it may be done all the same: look before you decide again") from None
            if isinstance(unknown, Late):
                raise NotBegun("it waited for its turn, and is not done: do the command logs take any?") from None
            raise NotLed("the partition lost its leader before its turn: it is not done") from None
        if self.refusal:
            raise NotPossible(self.refusal)
        return position


async def in_time(waiting: "asyncio.Future[str]") -> str:
    """What it ends with.  Raises `OutcomeUnknown` if that comes to nothing, `Late` if too late."""
    try:
        async with asyncio.timeout(OPERATOR_TIMEOUT_MS / 1000):
            position = await waiting
    except TimeoutError:
        raise Late(f"nothing became durable for {OPERATOR_TIMEOUT_MS / 1000:.0f} s") from None
    if not position:
        raise OutcomeUnknown("the partition lost its leader meanwhile")
    return position
