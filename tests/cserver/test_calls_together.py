"""Calls of one command each: few of them wait for the batch before, and are decided together."""

import asyncio
from collections.abc import Sequence
from math import inf
from random import Random

from bank.v1.commands_pb2 import Deposit, OpenAccount
from bennu.limits import DECIDE_LATER
from bennu.replica.pauses import Pauses
from bennu.testing.loop import run
from bennu.v1.journal_pb2 import EpochStart, EventBatch
from bennu_cserver.command_loop import Partition
from bennu_cserver.replies import NOT_DECIDED
from bennu_cserver.submission import Caller, Prepared, Reply, Submission
from tests.cserver.test_intake import never, prepared, routes_of_a_stalled_partition

TURNS = 50
TOO_LATE_S = -1.0


class Led:
    """A partition that is led; its appends are held back while `let_append` is not set."""

    def __init__(self) -> None:
        _, stalled = routes_of_a_stalled_partition()
        self.replica = stalled.replica
        self.partition = Partition(self.replica, stalled.fold, Pauses())
        self.replica.state.window.count, self.replica.state.window.age_us = 1_000_000, 10**12
        self.let_append = asyncio.Event()
        self._append = self.replica.journal.append
        self.replica.journal.append = self._held  # type: ignore[method-assign]  # the log is slow

    async def _held(self, body: bytes, record: EpochStart | EventBatch) -> None:
        await self.let_append.wait()
        await self._append(body, record)

    async def begin(self) -> None:
        """Lead, with the first batch on its way."""
        self.replica.lead()
        await self.replica.log.create(self.replica.topic)
        self.leading = asyncio.create_task(self.partition.lead())
        await self.some_turns()

    async def some_turns(self) -> None:
        """Enough for whatever is to be decided now."""
        for _ in range(TURNS):
            await asyncio.sleep(0)

    async def end(self) -> None:
        """All is answered."""
        self.let_append.set()
        self.partition.stop()
        await self.leading

    def call(self, *commands: Prepared, deadline_s: float = inf, client: str = "") -> Submission:
        """One is in line."""
        submission = Submission(commands, never, caller=Caller(client, deadline_s))
        assert self.partition.submit(submission)
        return submission

    @property
    def decided(self) -> int:
        """Commands in the open batch."""
        return len(self.replica.open.command_ids)


def opening(number: int) -> Prepared:
    """A command."""
    return prepared(OpenAccount(account=f"a{number}", currency="EUR"), f"open-{number}")


def test_few_wait_for_the_batch_before_and_many_do_not() -> None:
    """What is decided together takes less; and memory does not run further ahead of the log than it did."""

    async def body() -> None:
        led = Led()
        await led.begin()
        for number in range(DECIDE_LATER - 1):
            led.call(opening(number))
        await led.some_turns()
        assert led.decided == 0
        led.call(opening(DECIDE_LATER))
        await led.some_turns()
        assert led.decided == DECIDE_LATER
        await led.end()

    run(body())


def test_who_asks_does_not_wait_behind_them() -> None:
    """What is in line before a question is decided at once, and not once the batch before is there."""

    async def body() -> None:
        led = Led()
        await led.begin()
        led.call(opening(1))
        await led.some_turns()
        led.call()
        await led.some_turns()
        assert led.decided == 1
        await led.end()

    run(body())


def some_calls(chance: Random) -> list[tuple[Prepared, float]]:
    """New ones, repeated ones, the same id with another payload, rejected ones, and some that come too late."""
    found: list[tuple[Prepared, float]] = [(opening(0), inf)]
    for _ in range(60):
        number = chance.randrange(20)
        amount = Deposit(account="a0" if chance.random() < 0.8 else "nobody", amount_minor=chance.randrange(1, 4))
        amount.currency = "EUR"
        late = chance.random() < 0.1
        found.append((prepared(amount, f"d-{number}"), TOO_LATE_S if late else inf))
    return found


async def answers(calls: Sequence[tuple[Prepared, float]], chance: Random) -> list[Sequence[Reply]]:
    """What each was told; so many come together as chance has it."""
    led = Led()
    led.let_append.set()
    await led.begin()
    told, rest = list[Submission](), list(calls)
    while rest:
        count = chance.choice((1, 2, 5, 30))
        told += [led.call(command, deadline_s=deadline_s) for command, deadline_s in rest[:count]]
        rest = rest[count:]
        await led.some_turns()
    await led.end()
    return [submission.replies for submission in told]


def test_together_or_one_by_one_calls_are_told_the_same() -> None:
    """Whatever comes in between: what is known already, another payload for the same id, or what is too late."""
    late = 0
    for seed in range(20):
        chance = Random(seed)
        print(f"seed {seed}")
        calls = some_calls(chance)
        alone = run(answers(calls, AlwaysOne()))
        assert run(answers(calls, chance)) == alone
        late += alone.count([NOT_DECIDED])
    assert late > 20


class AlwaysOne(Random):
    """Nobody comes with another one."""

    def choice(self, _seq: object) -> int:  # type: ignore[override]  # of numbers
        return 1
