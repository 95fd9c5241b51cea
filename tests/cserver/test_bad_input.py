"""What bad input gets at the gRPC edge: a refusal that says what is wrong, before anything is decided."""

import pytest
from google.protobuf.message import Message

from bank.v1.commands_pb2 import Deposit, OpenAccount, Transfer, Withdraw, WithdrawForTransfer
from bank.v1.queries_pb2 import GetAccount
from bennu.limits import MAX_COMMAND_BYTES, MAX_FRAME_BYTES, MAX_UNKNOWN_FIELD_BYTES
from tests.cserver.served import Answer, Server

OPEN = OpenAccount(account="a", currency="EUR")
FUTURE_UUID7 = "ffffffff-ffff-7fff-bfff-ffffffffffff"


def length_delimited(number: int, content: bytes) -> bytes:
    """A protobuf field of bytes, text or message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """Base 128, least significant group first."""
    head = b""
    while value > 0x7F:
        head += bytes([value & 0x7F | 0x80])
        value >>= 7
    return head + bytes([value])


def nested_groups(number: int, depth: int) -> bytes:
    """A field that no message knows, nested in itself."""
    return varint(number << 3 | 3) * depth + varint(number << 3 | 4) * depth


def refused(answer: Answer) -> tuple[str, str, list[str]]:
    """Code, reason and fields of a refusal, which must come with words."""
    assert answer.status.message
    return answer.code, answer.reason, answer.fields


def deposit(**changed: object) -> Deposit:
    """A good deposit, but for these fields."""
    fields: dict[str, object] = {"account": "a", "amount_minor": 1, "currency": "EUR"}
    return Deposit(**(fields | changed))  # type: ignore[arg-type]  # a test names the right ones


@pytest.mark.parametrize(
    "body",
    [
        b"\xff" * 20,
        b"\x0a\x05ab",
        nested_groups(99, 10_000),
        length_delimited(1, b"a") + length_delimited(3, b"\xff\xfe"),
        b"\x18",
    ],
    ids=["noise", "cut off", "nested 10,000 deep", "invalid UTF-8", "half a varint"],
)
@pytest.mark.parametrize("method", ["Deposit", "GetAccount"])
def test_bytes_that_can_not_be_parsed_are_invalid(server: Server, method: str, body: bytes) -> None:
    """The parser knows no field of what it can't parse, so the answer names the message type."""
    body = body.replace(b"\x1a\x02\xff", b"\x0a\x02\xff") if method == "GetAccount" else body
    answer = server.send(method, body)
    assert refused(answer) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT", [])
    assert f"bank.v1.{method}" in answer.status.message


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (deposit(account=""), "account"),
        (deposit(account="x" * 10_000), "account"),
        (deposit(account="two words"), "account"),
        (deposit(amount_minor=0), "amount_minor"),
        (deposit(amount_minor=-1), "amount_minor"),
        (deposit(amount_minor=-(2**63)), "amount_minor"),
        (deposit(amount_minor=10**15 + 1), "amount_minor"),
        (deposit(amount_minor=2**63 - 1), "amount_minor"),
        (deposit(currency=""), "currency"),
        (deposit(currency="eur"), "currency"),
        (deposit(currency="EURO"), "currency"),
        (OpenAccount(account="a", currency="EUR", owner="x" * 201), "owner"),
        (OpenAccount(account="a", currency="EUR", owner="A\0da"), "owner"),
        (OpenAccount(account="a", currency="EUR", owner="Ada\n"), "owner"),
        (OpenAccount(account="a", currency="EUR", limit_minor=-1), "limit_minor"),
        (Withdraw(account="a", amount_minor=0, currency="EUR"), "amount_minor"),
        (Transfer(transfer="", source="a", target="b", amount_minor=1, currency="EUR"), "transfer"),
        (Transfer(transfer="t", source="", target="b", amount_minor=1, currency="EUR"), "source"),
        (GetAccount(account=""), "account"),
        (GetAccount(account="x" * 10_000), "account"),
    ],
    ids=lambda value: None if isinstance(value, Message) else value,
)
def test_a_field_that_can_not_be_is_named(server: Server, request_: Message, field: str) -> None:
    """Empty keys, amounts that are none, currencies that are none, ids too long: INVALID_ARGUMENT with the field."""
    assert refused(server.ask(request_)) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT", [field])


def test_a_varint_over_64_bits_is_no_amount(server: Server) -> None:
    """An amount that overflows its encoding is not cut down to one that fits."""
    overlong = b"\x10" + b"\xff" * 10 + b"\x01"
    answer = server.send("Deposit", length_delimited(1, b"a") + overlong + length_delimited(3, b"EUR"))
    assert refused(answer) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT", [])


def test_some_unknown_fields_pass_and_more_do_not(server: Server) -> None:
    """A newer client may know a few fields more, up to 1 KiB of them; a megabyte of them is no message of ours."""
    server.ask(OPEN)
    good = deposit().SerializeToString()
    at_limit = length_delimited(99, bytes(MAX_UNKNOWN_FIELD_BYTES - 4))
    assert len(at_limit) == MAX_UNKNOWN_FIELD_BYTES
    assert server.send("Deposit", good + at_limit).code == "OK"
    for more in (at_limit + length_delimited(98, b""), length_delimited(99, bytes(MAX_COMMAND_BYTES // 2))):
        answer = server.send("Deposit", good + more)
        assert refused(answer) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT", [])
        assert "bank.v1.Deposit" in answer.status.message


def test_a_command_over_a_mebibyte_is_too_large(server: Server) -> None:
    """One byte over the limit is RESOURCE_EXHAUSTED, whatever the bytes are."""
    assert server.send("Deposit", bytes(MAX_COMMAND_BYTES)).code == "INVALID_ARGUMENT"
    answer = server.send("Deposit", bytes(MAX_COMMAND_BYTES + 1))
    assert refused(answer) == ("RESOURCE_EXHAUSTED", "COMMAND_TOO_LARGE", [])


def test_a_message_over_four_mebibytes_is_not_read(server: Server) -> None:
    """The transport refuses it, before it is in memory whole."""
    assert server.send("Deposit", bytes(MAX_FRAME_BYTES + 1)).code == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize("command_id", ["", "k" * 65, "k" * 10_000, FUTURE_UUID7], ids=["", "65", "10,000", "future"])
def test_an_id_that_is_none_is_refused(server: Server, command_id: str) -> None:
    """A present but empty id, one over 64 bytes, and a UUIDv7 from the future are INVALID_ARGUMENT."""
    answer = server.ask(OPEN, {"idempotency-key": command_id})
    assert refused(answer) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT", ["idempotency-key"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bennu-actor", ""),
        ("bennu-actor", "x" * 257),
        ("bennu-correlation-id", "x" * 1025),
        ("traceparent", "x" * 129),
        ("bennu-actr", "ann"),
        ("bennu-position", "bank-events-0:1"),
    ],
)
def test_metadata_that_can_not_be_is_named(server: Server, name: str, value: str) -> None:
    """What is too long, empty or misspelt among our own metadata is refused, never cut or passed over."""
    assert refused(server.ask(OPEN, {name: value})) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT", [name])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bennu-consistency", "strong"),
        ("bennu-consistency", ""),
        ("bennu-min-position", "17"),
        ("bennu-min-position", "bank-events-0:"),
        ("bennu-min-position", "bank-events-0:-1"),
        ("bennu-min-position", "bank-events-0:" + "9" * 5_000),
        ("bennu-min-position", "fraud-events-0:1"),
    ],
)
def test_metadata_of_a_query_that_can_not_be_is_named(server: Server, name: str, value: str) -> None:
    """A consistency that nobody offers and a position that no answer gave are refused."""
    answer = server.ask(GetAccount(account="a"), {name: value})
    assert refused(answer) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT", [name])


def test_a_method_that_is_not_there_says_so(server: Server) -> None:
    """What only a saga may send has no method."""
    command = WithdrawForTransfer(account="a", transfer="t", amount_minor=1, currency="EUR")
    assert server.send("WithdrawForTransfer", command.SerializeToString()).code == "UNIMPLEMENTED"


def test_a_refusal_before_deciding_leaves_the_id_free(server: Server) -> None:
    """It speaks of that attempt only: the same id may come again with a command that can be decided."""
    assert server.ask(deposit(amount_minor=0), {"idempotency-key": "free"}).code == "INVALID_ARGUMENT"
    server.ask(OPEN)
    assert server.ask(deposit(amount_minor=1), {"idempotency-key": "free"}).code == "OK"
