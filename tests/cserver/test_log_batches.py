"""Commands of a command log are prepared by the dozen, and each as it would be by itself."""

from collections.abc import Sequence

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from bank.app import app
from bank.v1.commands_pb2 import Deposit, WithdrawForTransfer
from bennu.limits import MAX_COMMAND_ID_BYTES, MAX_UNKNOWN_FIELD_BYTES
from bennu.ops.metrics import Metrics
from bennu.ops.readiness import Readiness
from bennu.v1.command_pb2 import CommandBatch, Origin
from bennu_cserver.log_input import CommandLogReader
from bennu_cserver.observed import Observed
from bennu_cserver.submission import Columns, Prepared
from tests.cserver.commands import batch_of
from tests.cserver.test_intake import INTAKE, ORIGIN, mutated

TOPIC, SAGA, OFFSET = "bank-commands-0", "bank-saga-0", 17
OBSERVED = Observed(Metrics(), Readiness(), 1)
WITHDRAW = WithdrawForTransfer(account="a", transfer="t", amount_minor=1, currency="EUR")
DEPOSIT = Deposit(account="d", amount_minor=1, currency="EUR")
TYPES = ("bank.v1.Deposit", "bank.v1.WithdrawForTransfer", "bank.v1.GetAccount", "bank.v1.No")
GOOD = DEPOSIT.SerializeToString()
IDS = st.text(max_size=70) | st.sampled_from(
    [
        "",
        "a",
        "saga:1",
        "x saga:1",
        "0190b7a5-7c1e-7000-8000-000000000000",
        "f190b7a5-7c1e-7000-8000-000000000000",
        "a\nb",
    ]
)
PAYLOADS = (
    st.sampled_from([GOOD, WITHDRAW.SerializeToString()])
    | mutated(DEPOSIT)
    | mutated(WITHDRAW)
    | st.binary(max_size=30)
)
COMMANDS = st.lists(st.tuples(st.integers(0, len(TYPES) - 1), PAYLOADS, IDS, st.integers(0, 1)), min_size=1, max_size=9)


def prepared(batch: CommandBatch, partitions: int = 1) -> Sequence[Prepared]:
    """What partition 0 makes of this record."""
    reader = CommandLogReader(app, TOPIC, (0, partitions), observed=OBSERVED, sources={SAGA})
    found = reader.submission(INTAKE, OFFSET, batch.SerializeToString())
    assert found.source == batch.source
    return found.commands


def only(batch: CommandBatch, i: int) -> CommandBatch:
    """A record of this one of its commands."""
    one = CommandBatch()
    one.CopyFrom(batch)
    for name in ("payloads", "type_indexes", "command_ids", "origin_indexes", "compensates", "repeats"):
        column = getattr(one, name)
        column[:] = column[i : i + 1]
    return one


@given(COMMANDS, st.booleans(), st.booleans(), st.booleans(), st.sampled_from([1, 2]))
def test_each_is_judged_as_by_itself(
    sent: Sequence[tuple[int, bytes, str, int]], numbered: bool, named: bool, undo: bool, partitions: int
) -> None:
    """Good and bad payloads, types and ids of every kind side by side: the same commands, refusals and words."""
    batch = CommandBatch(format_version=1, types=TYPES, origins=[ORIGIN, Origin(actor="other")])
    batch.type_indexes.extend(type_index for type_index, *_ in sent)
    batch.payloads.extend(payload for _, payload, *_ in sent)
    batch.origin_indexes.extend(origin for *_, origin in sent)
    if numbered:
        batch.source, batch.first_no = SAGA, 1
    if named:
        batch.command_ids.extend(command_id for _, _, command_id, _ in sent)
    if undo:
        batch.compensates.extend(f"saga:{i}" if i % 2 else "" for i in range(len(sent)))
        batch.repeats.extend(i % 3 == 0 for i in range(len(sent)))
    together = prepared(batch, partitions)
    assert len(together) == len(sent)
    for i, command in enumerate(together):
        (alone,) = prepared(only(batch, i), partitions)
        place = f"{TOPIC}/{OFFSET}/0"
        assert command.command_id == (f"{TOPIC}/{OFFSET}/{i}" if alone.command_id == place else alone.command_id)
        assert facts(command) == facts(alone)


def facts(of: Prepared) -> tuple[object, ...]:
    """All but the id, which may be its place."""
    return of.type_name, of.rule, of.message, of.digest, of.origin, of.key, of.compensates, of.refusal, of.repeats


def test_a_large_record_keeps_its_order() -> None:
    """Of two types by turns, in more slices than one: each under its own id, or its own place."""
    commands: list[Message] = []
    for i in range(1, 151):
        commands += [Deposit(account=f"{i}", amount_minor=i, currency="EUR"), WITHDRAW]
    found = prepared(batch_of(commands))
    assert [command.message for command in found] == commands
    assert [command.command_id for command in found] == [f"{TOPIC}/{OFFSET}/{i}" for i in range(300)]


@pytest.mark.parametrize("type_name", sorted(app.commands))
def test_commands_of_a_saga_are_taken_together(type_name: str) -> None:
    """Also those that no client may send; which a client's batch has prepared, and so refused, one by one."""
    message = app.commands[type_name].message()
    for field in message.DESCRIPTOR.fields:
        setattr(message, field.name, "EUR" if field.cpp_type == field.CPPTYPE_STRING else 1)
    columns = Columns([message.SerializeToString()] * 3, ["a", "b", "c"], [ORIGIN] * 3)
    plain = INTAKE._plain
    assert [command.message for command in plain.commands(type_name, columns, of_log=True)] == [message] * 3
    assert bool(plain.commands(type_name, columns)) == bool(app.commands[type_name].reply_type)


UNKNOWN_FIELD = bytes([0xFA, 0x7F, 0x80 | MAX_UNKNOWN_FIELD_BYTES & 0x7F, MAX_UNKNOWN_FIELD_BYTES >> 7])
BAD: dict[str, tuple[str, bytes]] = {
    "a long id": ("x" * (MAX_COMMAND_ID_BYTES + 1), GOOD),
    "an id of the future": ("f190b7a5-7c1e-7000-8000-000000000000", GOOD),
    "an id of two lines": ("a\nb", GOOD),
    "a saga's id": ("saga:t", GOOD),
    "unknown fields": ("c", GOOD + UNKNOWN_FIELD + bytes(MAX_UNKNOWN_FIELD_BYTES)),
    "no amount": ("c", Deposit(account="d", currency="EUR").SerializeToString()),
    "no key": ("c", Deposit(amount_minor=1, currency="EUR").SerializeToString()),
    "no message": ("c", b"\xff"),
}


@pytest.mark.parametrize(("command_id", "payload"), BAD.values(), ids=BAD)
def test_one_that_is_refused_stands_among_others_that_are_taken(command_id: str, payload: bytes) -> None:
    """By itself or beside others, in the same words."""
    batch = batch_of([DEPOSIT] * 4, ["a", "b", command_id, "d"])
    batch.payloads[2] = payload
    found = prepared(batch)
    assert [command.refusal[0] for command in found] == ["", "", "invalid_argument", ""]
    assert found[2].rule is None
    assert found[2].refusal == prepared(only(batch, 2))[0].refusal
