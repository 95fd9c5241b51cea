"""From bytes to commands: whatever comes, either a command that may be decided or a refusal."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st

from bank.app import app
from bank.v1.commands_pb2 import Deposit
from bank.v1.queries_pb2 import GetAccount
from bennu.limits import ID_AHEAD_MS, INBOX_BYTES, INBOX_COMMANDS, MAX_COMMAND_ID_BYTES, QUERY_BYTES
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.replica.fold import AggregateFold
from bennu.replica.journal import Position
from bennu.replica.leader import Replica
from bennu.replica.state import ReplicaState
from bennu.replica.window import is_uuid7
from bennu.testing.clock import ManualClock
from bennu.v1.command_pb2 import Origin
from bennu.v1.stream_pb2 import CommandFrame
from bennu_cserver.command_loop import Partition
from bennu_cserver.intake import Intake, Refused
from bennu_cserver.log_input import GarbageRecord, parse_commands
from bennu_cserver.member import Member
from bennu_cserver.replies import OVERLOADED
from bennu_cserver.routes import Routes
from bennu_cserver.stream import parse_frame
from bennu_cserver.submission import Prepared, Submission
from tests.cserver.commands import batch_of
from tests.lone import lone, routes_of

CLOCK = ManualClock()
INTAKE = Intake(app, CLOCK.wall_us)
ORIGIN = Origin(actor="tester")
DEPOSIT = Deposit(account="a", amount_minor=1, currency="EUR")


def prepared(message: Message, command_id: str | None = None) -> Prepared:
    """A command as the intake makes it."""
    return INTAKE.command(message.DESCRIPTOR.full_name, message.SerializeToString(), command_id, origin=ORIGIN)


def mutated(message: Message) -> st.SearchStrategy[bytes]:
    """Good bytes with a few of them replaced, so that the parser gets further than noise does."""
    good = message.SerializeToString()
    changes: st.SearchStrategy[Mapping[int, int]] = st.dictionaries(
        st.integers(0, len(good) - 1), st.integers(0, 255), max_size=4
    )
    return st.builds(lambda at: bytes(at.get(i, byte) for i, byte in enumerate(good)), changes)


@given(
    st.sampled_from([*app.commands, *app.queries, "", "bank.v1.Nothing"]),
    st.binary(max_size=200) | mutated(DEPOSIT),
    st.none() | st.text(max_size=80),
)
def test_only_a_refusal_comes_out_of_bad_bytes(type_name: str, payload: bytes, command_id: str | None) -> None:
    """Random types, payloads and ids: a command that was prepared whole, or `Refused`."""
    try:
        found = INTAKE.command(type_name, payload, command_id, origin=ORIGIN)
    except Refused:
        return
    assert found.rule is not None
    assert found.message is not None
    assert found.rule.key(found.message)
    assert 0 < len(found.command_id.encode()) <= MAX_COMMAND_ID_BYTES


@given(st.binary(max_size=300) | mutated(CommandFrame(frame_id=1, commands=batch_of([DEPOSIT] * 3, ["a", "b", "c"]))))
def test_only_a_refusal_comes_out_of_a_bad_frame(body: bytes) -> None:
    """A frame that is taken has columns that can be read in step."""
    try:
        batch = parse_frame(body).commands
    except Refused:
        return
    for i, payload in enumerate(batch.payloads):
        assert isinstance(payload, bytes)
        assert batch.types[batch.type_indexes[i]] is not None


@given(st.binary(max_size=300) | mutated(batch_of([DEPOSIT] * 3, ["a", "b", "c"])), st.integers(0, 2**40))
def test_a_record_of_the_command_log_is_garbage_or_prepared(body: bytes, offset: int) -> None:
    """Whatever stands in a command log: garbage as a whole, or every command of it decided or rejected by name."""
    try:
        batch = parse_commands(body)
    except GarbageRecord:
        return
    for i, payload in enumerate(batch.payloads):
        command_id = batch.command_ids[i] if batch.command_ids else f"log/{offset}/{i}"
        found = INTAKE.from_log(batch.types[batch.type_indexes[i]], payload, command_id, origin=ORIGIN)
        assert (found.rule is None) == bool(found.refusal[0])


def test_the_same_command_has_the_same_digest() -> None:
    """A payload is compared by type and deterministic re-serialization, so the order of its fields does not count."""
    reordered = INTAKE.command("bank.v1.Deposit", b"\x1a\x03EUR\x10\x01\x0a\x01a", "x", origin=ORIGIN)
    assert reordered.digest == prepared(DEPOSIT, "y").digest
    as_withdrawal = INTAKE.command("bank.v1.Withdraw", DEPOSIT.SerializeToString(), "z", origin=ORIGIN)
    assert as_withdrawal.digest != prepared(DEPOSIT).digest


@pytest.mark.parametrize("command_id", ["zero\0", "line\n", "\x7f", "\x85"])
def test_a_command_id_has_no_control_characters(command_id: str) -> None:
    """Postgres can hold no zero byte; the refusal names the id."""
    with pytest.raises(Refused, match="control characters") as refused:
        prepared(DEPOSIT, command_id)
    assert b"idempotency-key" in refused.value.reply[1]
    assert prepared(DEPOSIT, "Überweisung 1").command_id == "Überweisung 1"


def uuid7_at(ahead_ms: int) -> str:
    """A UUIDv7 made so much ahead of the intake's clock."""
    text = f"{CLOCK.wall_us() // 1000 + ahead_ms:012x}"
    return f"{text[:8]}-{text[8:12]}-7000-8000-000000000000"


def test_a_uuid7_may_be_a_little_ahead() -> None:
    """Clocks differ: an id from a minute ahead is taken, one from beyond that is not."""
    assert prepared(DEPOSIT, uuid7_at(ID_AHEAD_MS)).command_id == uuid7_at(ID_AHEAD_MS)
    with pytest.raises(Refused, match="future"):
        prepared(DEPOSIT, uuid7_at(ID_AHEAD_MS + 1))


def test_made_ids_differ_and_tell_their_time() -> None:
    """An id that the server makes is a UUIDv7 of its own clock."""
    made = {INTAKE.new_id() for _ in range(1_000)}
    assert len(made) == 1_000
    assert all(is_uuid7(command_id) for command_id in made)
    assert {command_id[:13] for command_id in made} == {uuid7_at(0)[:13]}


def routes_of_a_stalled_partition() -> tuple[Routes, Partition]:
    """A partition whose task decides nothing, so that all it is given stays in line."""
    fold = AggregateFold(app)
    log = MemoryLog(MemoryBroker())
    replica = Replica(log, Position("bank-events-0"), ReplicaState(fold, partition=0, partitions=1), clock=CLOCK)
    node = lone(log)
    member = Member(app, (0, 1), node=node, intake=INTAKE)
    member.partition = Partition(replica, fold, node.pauses)
    return routes_of(node, [member]), member.partition


def never(_submission: Submission, _batch_no: int) -> None:
    """Nobody waits."""


def full_of_commands(partition: Partition) -> None:
    assert partition.submit(Submission([prepared(DEPOSIT)] * INBOX_COMMANDS, never))


def full_of_bytes(partition: Partition) -> None:
    large = Submission([prepared(DEPOSIT)], never)
    large.bytes = INBOX_BYTES - QUERY_BYTES + 1
    assert partition.submit(large)


@pytest.mark.parametrize("fill", [full_of_commands, full_of_bytes])
def test_a_full_line_is_said_at_once(fill: Callable[[Partition], None]) -> None:
    """Over the bound of commands or bytes the answer is RESOURCE_EXHAUSTED, and nothing is taken."""

    async def asked() -> None:
        routes, partition = routes_of_a_stalled_partition()
        fill(partition)
        before = partition._inbox.commands
        replies, token = await routes.submit(0, [prepared(DEPOSIT)], QUERY_BYTES)
        assert (replies, token) == ([OVERLOADED], "")
        query = app.queries["bank.v1.GetAccount"]
        assert await routes.ask(query, GetAccount(account="a")) == (OVERLOADED, "")
        assert partition._inbox.commands == before
        assert len(partition.waits) <= 1  # a flood that is refused is not kept until it would have been too late

    asyncio.run(asked())


def test_an_overload_says_when_to_come_again() -> None:
    """RetryInfo holds a delay."""
    code, content = OVERLOADED
    retry = next(detail for detail in Status.FromString(content).details if detail.Is(RetryInfo.DESCRIPTOR))
    found = RetryInfo()
    retry.Unpack(found)
    assert code == 8
    assert found.retry_delay.ToMilliseconds() > 0
