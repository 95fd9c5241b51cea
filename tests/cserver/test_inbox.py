"""The line of a partition: fair between clients, bounded for each, and honest about time."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from unittest.mock import Mock

import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st

from bank.v1.commands_pb2 import Deposit, OpenAccount
from bennu.limits import (
    DRAIN_SAMPLE_MS,
    INBOX_BYTES,
    INBOX_COMMANDS,
    RETRY_HINT_MAX_MS,
    RETRY_HINT_MS,
    TURN_COMMANDS,
)
from bennu.testing.loop import run
from bennu.v1.command_pb2 import Origin
from bennu.v1.stream_pb2 import CommandFrame
from bennu_cserver.drain import Drain
from bennu_cserver.inbox import Inbox
from bennu_cserver.observed import Observed
from bennu_cserver.replies import overloaded
from bennu_cserver.stream import Stream
from bennu_cserver.submission import Caller, Prepared, Submission
from tests.cserver.commands import batch_of
from tests.cserver.test_intake import INTAKE, never, prepared, routes_of_a_stalled_partition

OPEN = prepared(OpenAccount(account="a", currency="EUR"))
OPEN_ONCE = prepared(OpenAccount(account="a", currency="EUR"), "open")
DEPOSIT = prepared(Deposit(account="a", amount_minor=5, currency="EUR"), "deposit")


def still() -> float:
    """A clock that stands."""
    return 0.0


def of(client: str, commands: int, *, size_bytes: int = 0) -> Submission:
    """What a client sends."""
    found = Submission([OPEN] * commands, never, caller=Caller(client))
    found.bytes = size_bytes
    return found


def decided(inbox: Inbox, budget: int) -> list[tuple[str, int]]:
    """(client, commands) of the turns that were taken while so many commands were decided."""
    turns = []
    while inbox and budget > 0:
        submission, credit = inbox.first()
        commands = min(credit, budget, len(submission.commands) - submission.next)
        submission.next += commands
        inbox.spend(commands)
        turns.append((submission.caller.client, commands))
        budget -= max(1, commands)
    return turns


def shares(turns: Sequence[tuple[str, int]]) -> Counter[str]:
    """Commands by client."""
    found: Counter[str] = Counter()
    for client, commands in turns:
        found[client] += commands
    return found


def test_a_flood_does_not_starve_another() -> None:
    """Behind ten thousand commands of one client, another one's single command waits for one turn."""
    inbox = Inbox(still)
    for _ in range(100):
        assert inbox.put(of("flood", 100))
    assert inbox.put(of("calm", 1))
    assert ("calm", 1) in decided(inbox, TURN_COMMANDS + 1)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 400)), min_size=1, max_size=60), st.integers(1, 300))
def test_all_is_decided_in_each_clients_order(sent: list[tuple[str, int]], slice_commands: int) -> None:
    """Whatever is sent and however the work is sliced: nothing is lost or doubled, and a client's own order holds."""
    inbox = Inbox(still)
    submissions = [of(client, commands) for client, commands in sent]
    assert all(inbox.put(each) for each in submissions)
    found: Counter[str] = Counter()
    while inbox:
        submission = inbox.first()[0]
        before = [each for each in submissions if each.caller == submission.caller]
        assert all(each.next == len(each.commands) for each in before[: before.index(submission)])
        found += shares(decided(inbox, slice_commands))
    assert found == +shares(sent)
    assert all(each.next == len(each.commands) for each in submissions)


def test_two_that_flood_get_the_same() -> None:
    """Frames of any size weigh by their commands: a client of large ones gets no more than one of small ones."""
    inbox = Inbox(still)
    for _ in range(10):
        inbox.put(of("large", 1_000))
    for _ in range(1_000):
        inbox.put(of("small", 10))
    found = shares(decided(inbox, 50 * TURN_COMMANDS))
    assert abs(found["large"] - found["small"]) <= TURN_COMMANDS


def test_queries_take_turns_too() -> None:
    """What has no commands counts as one, so a flood of queries does not starve a command."""
    inbox = Inbox(still)
    for _ in range(10 * TURN_COMMANDS):
        inbox.put(of("asks", 0, size_bytes=1))
    inbox.put(of("calm", 1))
    assert ("calm", 1) in decided(inbox, TURN_COMMANDS + 1)


@pytest.mark.parametrize("size_bytes", [0, INBOX_BYTES // 600])
def test_one_client_never_fills_the_line(size_bytes: int) -> None:
    """A client has at most what is free; so there is always room for one that has nothing waiting."""
    inbox = Inbox(still)
    for client in ("first", "second", "third"):
        while inbox.put(of(client, 100, size_bytes=size_bytes)):
            pass
    held = [line.bytes if size_bytes else line.commands for line in inbox._lines.values()]
    bound, slack = (INBOX_BYTES, size_bytes) if size_bytes else (INBOX_COMMANDS, 100)
    assert held[0] == pytest.approx(bound / 2, abs=slack)
    assert held == sorted(held, reverse=True)
    assert inbox.put(of("newcomer", 100, size_bytes=size_bytes))


def test_what_was_answered_makes_room() -> None:
    """Counts go back to nothing, and a client that has nothing waiting is not remembered."""
    inbox = Inbox(still)
    taken = []
    while inbox.put(submission := of("only", 1_000, size_bytes=10)):
        taken.append(submission)
    decided(inbox, INBOX_COMMANDS)
    for submission in taken:
        inbox.answered(submission)
    assert (inbox.commands, inbox.bytes, inbox._lines, bool(inbox)) == (0, 0, {}, False)


def test_a_record_of_the_log_is_always_taken() -> None:
    """It waits in the log while too many wait here; once read, it has its place whatever clients do."""
    inbox = Inbox(still)
    while inbox.put(of("flood", 1_000)):
        pass
    record = of("bank-commands-0", INBOX_COMMANDS)
    record.input_topic = "bank-commands-0"
    assert inbox.put(record)


class Clock:
    """Seconds, as set."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def drained(per_s: float) -> tuple[Drain, Clock]:
    """A line from which so many a second were answered, for a while."""
    clock = Clock()
    drain = Drain(clock)
    drain.begin()
    for _ in range(10):
        clock.now_s += DRAIN_SAMPLE_MS / 500
        drain.count(round(per_s * DRAIN_SAMPLE_MS / 500))
    return drain, clock


def test_a_hint_is_what_waits_at_the_measured_rate() -> None:
    """Ten thousand waiting commands at five thousand a second: two seconds."""
    assert drained(5_000)[0].time_ms(10_000) == pytest.approx(2_000, rel=0.05)


def test_a_hint_grows_while_nothing_is_answered() -> None:
    """A rate that was measured before the log went away is not believed for ever."""
    drain, clock = drained(5_000)
    clock.now_s += 1
    assert drain.time_ms(100) == RETRY_HINT_MAX_MS
    drain.begin()
    assert drain.time_ms(100) == RETRY_HINT_MS


def test_a_hint_is_bounded() -> None:
    """Neither at once nor in an hour, and something also before anything was measured."""
    assert drained(50_000)[0].time_ms(1) == RETRY_HINT_MS
    assert drained(10)[0].time_ms(INBOX_COMMANDS) == RETRY_HINT_MAX_MS
    assert Drain(still).time_ms(INBOX_COMMANDS) == RETRY_HINT_MS


def test_a_refusal_carries_the_hint() -> None:
    """RetryInfo holds it, beyond a second too."""
    retry = RetryInfo()
    assert any(each.Unpack(retry) for each in Status.FromString(overloaded(2_345)[1]).details)
    assert retry.retry_delay.ToMilliseconds() == 2_345


def reason(reply: bytes) -> str:
    """Of a refusal."""
    info = ErrorInfo()
    Status.FromString(reply).details[0].Unpack(info)
    return str(info.reason)


def sent(commands: Sequence[Prepared], deadline_s: float) -> Submission:
    """Commands whose caller waits until then."""
    return Submission(commands, never, caller=Caller("late", deadline_s))


async def after_the_deadline() -> None:
    """Commands that waited for longer than their callers."""
    _, partition = routes_of_a_stalled_partition()
    partition.replica.lead()
    now_s = asyncio.get_running_loop().time
    in_time, late = sent([OPEN_ONCE], now_s() + 1), sent([OPEN_ONCE, DEPOSIT], now_s() + 1)
    partition.submit(in_time)
    partition.decide_some()
    partition.submit(late)
    await asyncio.sleep(1)
    partition.decide_some()
    assert late.replies[0] == in_time.replies[0]
    code, content = late.replies[1]
    assert (code, reason(content)) == (4, "NOT_DECIDED")
    assert partition.replica.open.command_ids == ["open"]
    again = sent([DEPOSIT], now_s() + 1)
    partition.submit(again)
    partition.decide_some()
    assert [code for code, _ in again.replies] == [0]


def test_what_comes_too_late_is_not_decided() -> None:
    """NOT_DECIDED means just that, and leaves the id free; what was decided before gets its reply even then."""
    run(after_the_deadline())


async def frames_that_wait() -> None:
    """Two frames for a partition that begins to decide after a second."""
    routes, partition = routes_of_a_stalled_partition()
    partition.replica.lead()
    await partition.replica.log.create(partition.replica.topic)
    stream = Stream(routes, INTAKE, Mock(spec=Observed))
    asked = [
        asyncio.create_task(stream.answer(CommandFrame(commands=batch_of([command]), timeout_ms=timeout_ms), Origin()))
        for command, timeout_ms in ((OPEN_ONCE.message, 2_000), (DEPOSIT.message, 500))
        if command is not None
    ]
    await asyncio.sleep(1)
    leading = asyncio.create_task(partition.lead())
    assert [list((await answer).codes) for answer in asked] == [[0], [4]]
    leading.cancel()
    await asyncio.wait((leading,))


def test_a_frame_says_how_long_it_waits() -> None:
    """`timeout_ms` counts from the arrival of the frame."""
    run(frames_that_wait())
