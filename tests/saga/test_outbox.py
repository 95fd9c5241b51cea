"""The outbox: what may be sent, in which records."""

import pytest

from bennu.errors import JournalBroken
from bennu_cserver.log_input import parse_commands
from bennu_saga.limits import OUTBOX_BYTES, OUTBOX_COMMANDS, RECORD_BYTES, RECORD_COMMANDS
from bennu_saga.outbox import Box, Command, Outbox, encode

ORIGIN = ("saga:T", "T:t", "cause", "trace")


def command(no: int, payload: bytes = b"p", *, type_name: str = "bank.v1.Deposit", compensates: str = "") -> Command:
    """As it was journaled."""
    return Command(no, f"saga:{no}", type_name, payload, compensates, ORIGIN)


def box_of(count: int, *, effective_no: int, payload: bytes = b"p") -> Box:
    """Commands 1 to `count`."""
    box = Box("bank-commands-0")
    for no in range(1, count + 1):
        box.add(command(no, payload))
    box.effective_no = effective_no
    return box


def numbers(box: Box) -> list[int]:
    """What goes next."""
    return [each.no for each in box.sendable()]


def test_numbers_have_no_gap() -> None:
    """The next number is taken, no other one."""
    box = box_of(2, effective_no=2)
    for no in (2, 4):
        with pytest.raises(JournalBroken, match=f"command {no} was issued after 2"):
            box.add(command(no))


def test_only_what_is_effective_is_sent() -> None:
    """A batch that may still turn out void has issued nothing."""
    assert numbers(box_of(3, effective_no=0)) == []
    assert numbers(box_of(3, effective_no=2)) == [1, 2]


def test_what_is_confirmed_is_not_sent_again() -> None:
    """A receipt covers all up to its number, and once more changes nothing."""
    box = box_of(3, effective_no=3)
    for _ in range(2):
        box.confirm(2)
        assert numbers(box) == [3]
    box.confirm(3)
    assert numbers(box) == []
    assert box.bytes == 0


def test_a_record_is_bounded() -> None:
    """By count and by bytes; a command over the bound goes alone."""
    many = box_of(RECORD_COMMANDS + 1, effective_no=RECORD_COMMANDS + 1)
    assert len(numbers(many)) == RECORD_COMMANDS
    assert numbers(box_of(5, effective_no=5, payload=bytes(RECORD_BYTES // 2))) == [1, 2]
    assert numbers(box_of(5, effective_no=5, payload=bytes(2 * RECORD_BYTES))) == [1]


def test_the_outbox_is_bounded() -> None:
    """By commands and by bytes, over all logs."""
    for count, payload in ((OUTBOX_COMMANDS, b""), (OUTBOX_BYTES // 1_000_000 + 1, bytes(1_000_000))):
        outbox = Outbox()
        for number in range(count):
            assert not outbox.full
            box = outbox.box(f"bank-commands-{number % 2}")
            box.add(command(box.last_no + 1, payload))
        assert outbox.full
        outbox.box("bank-commands-0").confirm(1)
        assert not outbox.full


def test_a_record_says_what_was_journaled() -> None:
    """CServer's own reader finds ids, numbers, payloads, origins and compensations in it."""
    commands = [command(4), command(5, b"q", type_name="bank.v1.Withdraw", compensates="saga:4")]
    batch = parse_commands(encode(commands, "bank-saga-0"))
    assert (batch.source, batch.first_no) == ("bank-saga-0", 4)
    assert list(batch.command_ids) == ["saga:4", "saga:5"]
    assert [batch.types[index] for index in batch.type_indexes] == ["bank.v1.Deposit", "bank.v1.Withdraw"]
    assert list(batch.payloads) == [b"p", b"q"]
    assert list(batch.compensates) == ["", "saga:4"]
    (origin,) = batch.origins
    assert (origin.actor, origin.correlation_id, origin.causation_id, origin.traceparent) == ORIGIN
    assert encode(commands, "bank-saga-0") == encode(commands, "bank-saga-0")
