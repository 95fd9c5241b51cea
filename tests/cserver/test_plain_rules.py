"""What the quick check lets pass, protovalidate lets pass; and commands by the dozen are prepared as one by one."""

import re
from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message
from hypothesis import assume, given
from hypothesis import strategies as st
from protovalidate import CompilationError, ValidationError, Validator

from bank.app import app
from bank.v1.commands_pb2 import Deposit, OpenAccount
from bennu.limits import MAX_UNKNOWN_FIELD_BYTES
from bennu_cserver.intake import Refused
from bennu_cserver.plain_rules import plain_rules
from bennu_cserver.submission import Columns, Prepared
from buf.validate import validate_pb2
from tests.cserver.test_intake import INTAKE, ORIGIN, mutated

FieldProto = descriptor_pb2.FieldDescriptorProto
VALIDATOR = Validator()
NUMBERS = count()

PATTERNS = (
    *(
        "^[A-Z]{3}$",
        "^[!-~]+$",
        r"^\P{Cc}*$",
        "^[a-c ]{2,}$",
        "^a[0-9]?b*$",
        "^[a-z0-9-]{1,4}$",
        "^[A-Za-z_]+-?$",
        "^$",
    ),
    *(
        "[A-Z]",
        "^a",
        "b$",
        "^(a|b)$",
        "^a|b$",
        r"^\d+$",
        r"^\w$",
        "^[^a]$",
        "^.$",
        "^[a-z&&b]$",
        "^[!-~~]$",
        "^[a-\\d]$",
    ),
    *(
        "^[--a]$",
        "^[+--]$",
        "^a{2}{2}$",
        "^a*?$",
        "^[[:alpha:]]$",
        "^[a-a-c]$",
        "^a\n$",
        "^\u00e9$",
        "^[ -~]$",
        "^[.-0]$",
    ),
)
TEXTS = st.text(max_size=6) | st.text("abcABZ09 _-~!\n\u00e9\x7f\x85&", max_size=6)
LIMITS = st.integers(-3, 3) | st.sampled_from([2**31 - 1, -(2**31), 2**63 - 1, -(2**63)])
INTEGERS = {
    "int32": (FieldProto.TYPE_INT32, -(2**31), 2**31 - 1),
    "int64": (FieldProto.TYPE_INT64, -(2**63), 2**63 - 1),
    "uint32": (FieldProto.TYPE_UINT32, 0, 2**32 - 1),
    "uint64": (FieldProto.TYPE_UINT64, 0, 2**64 - 1),
}


def of_one_field(kind: int, rules: validate_pb2.FieldRules, options: bytes = b"") -> type[Message]:
    """A message with a field `value` that has these rules, and other options as they stand in bytes."""
    name = f"plain{next(NUMBERS)}"
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package=name, syntax="proto3")
    file.dependency.append("buf/validate/validate.proto")
    field = file.message_type.add(name="Asked").field.add(name="value", number=1)
    field.type, field.label = FieldProto.Type.ValueType(kind), FieldProto.LABEL_OPTIONAL
    field.options.Extensions[validate_pb2.field].CopyFrom(rules)
    field.options.MergeFromString(options)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{name}.Asked"))


def passes(message: Message) -> bool:
    """By protovalidate."""
    try:
        VALIDATOR.validate(message)
    except ValidationError:
        return False
    except CompilationError:
        assume(False)
    return True


def agrees(asked: type[Any], values: Sequence[object]) -> None:
    """Whatever the quick check lets pass, alone or among others; and it knows each valid one of a plain type."""
    plain = plain_rules(asked)
    if plain is None:
        return
    messages = [asked(value=value) for value in values]
    verdicts = [passes(message) for message in messages]
    assert [plain([message]) for message in messages] == verdicts
    assert plain(messages) == all(verdicts)


@given(
    st.sampled_from(PATTERNS) | st.none(),
    st.none() | st.integers(0, 4),
    st.none() | st.integers(0, 4),
    st.lists(TEXTS, min_size=1, max_size=8),
)
def test_texts(pattern: str | None, least: int | None, most: int | None, values: Sequence[str]) -> None:
    """Lengths count characters, and a pattern is about all of the text or left to protovalidate."""
    rules = validate_pb2.FieldRules(string=validate_pb2.StringRules(min_len=least, max_len=most, pattern=pattern))
    agrees(of_one_field(FieldProto.TYPE_STRING, rules), values)


def test_no_text_takes_long() -> None:
    """One that can be cut in many ways is left to protovalidate: to try them all would take hours."""
    pattern = "^[a-z]+[a-z0-9]*[a-z]*[a-z0-9]*[a-z]+$"
    asked = of_one_field(
        FieldProto.TYPE_STRING, validate_pb2.FieldRules(string=validate_pb2.StringRules(pattern=pattern))
    )
    plain = plain_rules(asked)
    assert plain is not None
    assert not plain([asked(value="a" * 5_000 + "!")])


def test_rules_of_another_type_are_left_to_protovalidate() -> None:
    """They are a mistake of the proto's author, and it says so."""
    rules = validate_pb2.FieldRules(int32=validate_pb2.Int32Rules(gt=3))
    assert plain_rules(of_one_field(FieldProto.TYPE_INT64, rules)) is None
    assert plain_rules(of_one_field(FieldProto.TYPE_INT32, rules)) is not None


@given(
    st.sampled_from(sorted(INTEGERS)),
    st.dictionaries(st.sampled_from(["gt", "gte"]), LIMITS, max_size=1),
    st.dictionaries(st.sampled_from(["lt", "lte"]), LIMITS, max_size=1),
    st.lists(LIMITS, min_size=1, max_size=8),
)
def test_integers(kind: str, above: dict[str, int], below: dict[str, int], values: Sequence[int]) -> None:
    """Bounds of each kind, at the ends of the type and crossed."""
    number, low, high = INTEGERS[kind]
    assume(all(low <= value <= high for value in (*above.values(), *below.values(), *values)))
    rules = validate_pb2.FieldRules()
    of_kind = getattr(rules, kind)
    of_kind.SetInParent()
    for name, value in (above | below).items():
        setattr(of_kind, name, value)
    agrees(of_one_field(number, rules), values)


@pytest.mark.parametrize(
    "rules",
    [
        validate_pb2.FieldRules(required=True),
        validate_pb2.FieldRules(string=validate_pb2.StringRules(email=True)),
        validate_pb2.FieldRules(string=validate_pb2.StringRules(max_bytes=3)),
        validate_pb2.FieldRules(cel=[validate_pb2.Rule(id="a", expression="this == 'a'")]),
        validate_pb2.FieldRules(
            string=validate_pb2.StringRules(max_len=3), ignore=validate_pb2.Ignore.IGNORE_IF_ZERO_VALUE
        ),
    ],
    ids=str,
)
def test_other_rules_are_left_to_protovalidate(rules: validate_pb2.FieldRules) -> None:
    """A rule that is not known here makes its type one that is not plain."""
    assert plain_rules(of_one_field(FieldProto.TYPE_STRING, rules)) is None


def test_a_rule_of_the_users_own_is_left_to_protovalidate() -> None:
    """It stands among the known ones as a field that nobody here knows."""
    rules = validate_pb2.FieldRules(string=validate_pb2.StringRules(max_len=3))
    rules.string.MergeFromString(bytes([0xC2, 0x3E, 0x01, 0x61]))
    assert plain_rules(of_one_field(FieldProto.TYPE_STRING, rules)) is None


def test_an_option_that_nobody_here_knows_is_left_to_protovalidate() -> None:
    """It could be rules, of a copy of protovalidate's that is not ours."""
    rules = validate_pb2.FieldRules(string=validate_pb2.StringRules(max_len=3))
    assert plain_rules(of_one_field(FieldProto.TYPE_STRING, rules)) is not None
    assert plain_rules(of_one_field(FieldProto.TYPE_STRING, rules, bytes([0xC2, 0x3E, 0x01, 0x61]))) is None


def test_the_banks_commands_are_plain() -> None:
    """Or the bank would be slow without anybody seeing why."""
    assert [name for name, rule in app.commands.items() if plain_rules(rule.message) is None] == []


GOOD = Deposit(account="a", amount_minor=1, currency="EUR")
OPENING = OpenAccount(account="a", currency="EUR")
IDS = st.text(max_size=70) | st.sampled_from(["", "a", "saga:1", "0190b7a5-7c1e-7000-8000-000000000000", "a\nb"])
ANY = st.tuples(mutated(GOOD) | st.just(GOOD.SerializeToString()) | st.binary(max_size=30), IDS)


@given(st.lists(ANY, min_size=1, max_size=6), st.sampled_from(["bank.v1.Deposit", "bank.v1.OpenAccount", "bank.v1.No"]))
def test_many_are_prepared_as_one_by_one(sent: Sequence[tuple[bytes, str]], type_name: str) -> None:
    """Each is what `command` makes of it, or refused as that refuses it, whatever it stands beside."""
    payloads, ids = [payload for payload, _ in sent], [command_id for _, command_id in sent]
    found = INTAKE.commands(type_name, Columns(payloads, ids, [ORIGIN] * len(sent)))
    assert len(found) == len(sent)
    for each, payload, command_id in zip(found, payloads, ids, strict=True):
        alone = one(type_name, payload, command_id)
        if isinstance(each, Refused) or isinstance(alone, Refused):
            assert isinstance(each, Refused)
            assert isinstance(alone, Refused)
            assert each.reply == alone.reply
        else:
            assert (each.command_id == command_id) is bool(command_id)
            assert facts(each) == facts(alone)


def one(type_name: str, payload: bytes, command_id: str) -> Prepared | Refused:
    """Prepared by itself."""
    try:
        return INTAKE.command(type_name, payload, command_id or None, origin=ORIGIN)
    except Refused as refused:
        return refused


def facts(of: Prepared) -> tuple[object, ...]:
    """All but the id, which may have been made."""
    return of.type_name, of.rule, of.message, of.digest, of.origin, of.compensates, of.refusal, of.repeats


def test_ids_are_made_for_those_without() -> None:
    """Each its own, among others that have one."""
    payloads = [GOOD.SerializeToString()] * 3
    found = INTAKE.commands("bank.v1.Deposit", Columns(payloads, ["", "mine", ""], [ORIGIN] * 3))
    ids = [each.command_id for each in found if isinstance(each, Prepared)]
    assert ids[1] == "mine"
    assert len(set(ids)) == 3
    assert all(re.fullmatch("[0-9a-f-]{36}", each) for each in (ids[0], ids[2]))


def test_a_payload_that_has_to_be_looked_at_is() -> None:
    """One of many unknown fields is refused, and those beside it are taken."""
    unknown = bytes([0xFA, 0x7F]) + bytes([0x80 | MAX_UNKNOWN_FIELD_BYTES & 0x7F, MAX_UNKNOWN_FIELD_BYTES >> 7])
    large = GOOD.SerializeToString() + unknown + bytes(MAX_UNKNOWN_FIELD_BYTES)
    columns = Columns([GOOD.SerializeToString(), large], ["a", "b"], [ORIGIN] * 2)
    taken, refused = INTAKE.commands("bank.v1.Deposit", columns)
    assert isinstance(taken, Prepared)
    assert isinstance(refused, Refused)
