"""The open batch: however its commands come, it is no larger than a record of a log may be."""

import pytest

from bank.app import app
from bank.v1.commands_pb2 import Deposit
from bennu.limits import (
    BATCH_BYTES,
    DECIDE_CHUNK,
    EVENT_BYTES,
    LONE_SLICE,
    MAX_ACTOR_BYTES,
    MAX_CAUSATION_ID_BYTES,
    MAX_COMMAND_ID_BYTES,
    MAX_CORRELATION_ID_BYTES,
    MAX_DECISION_BYTES,
    MAX_REASON_BYTES,
    MAX_TRACEPARENT_BYTES,
)
from bennu.log.port import MAX_RECORD_BYTES
from bennu.replica.batch import OpenBatch
from bennu.replica.decision import Decision, journaled
from bennu.v1.command_pb2 import Origin
from bennu_cserver.submission import Prepared

SLICE = DECIDE_CHUNK * LONE_SLICE


def asked(number: int, origin: Origin) -> Prepared:
    """With an id as long as one may be."""
    rule = app.commands["bank.v1.Deposit"]
    command_id = f"{number:0{MAX_COMMAND_ID_BYTES}}"
    return Prepared(command_id, rule.type_name, rule, Deposit(account="a"), bytes(16), origin, "a")


def large_origin(number: int) -> Origin:
    """As large as one may be."""
    return Origin(
        actor=f"{number:0{MAX_ACTOR_BYTES}}",
        traceparent="t" * MAX_TRACEPARENT_BYTES,
        reason="r" * MAX_REASON_BYTES,
        correlation_id="c" * MAX_CORRELATION_ID_BYTES,
        causation_id="c" * MAX_CAUSATION_ID_BYTES,
    )


def decided(size_bytes: int) -> Decision:
    """By one event."""
    return journaled(["bank.v1.Deposited"], [bytes(size_bytes - EVENT_BYTES)])


@pytest.mark.parametrize("one_origin", [True, False])
def test_a_slice_of_the_largest_fits_into_a_record(one_origin: bool) -> None:
    """What comes before the last decision is counted before it is made, origins and ids as well."""
    batch, shared = OpenBatch(1), large_origin(0)
    commands = [asked(number, shared if one_origin else large_origin(number)) for number in range(SLICE)]
    fitting, most_bytes = batch.room_for(commands)
    assert len(fitting) == SLICE
    before = max(0, most_bytes) // (SLICE - 1)
    decisions = [decided(before)] * (SLICE - 1) if before > EVENT_BYTES else []
    decisions.append(decided(MAX_DECISION_BYTES))
    batch.add_all(fitting[: len(decisions)], decisions)
    assert batch.full
    assert batch.build().ByteSize() < MAX_RECORD_BYTES


def test_one_origin_is_counted_once() -> None:
    """However many commands have it, and if it stood in the batch before."""
    batch, origin = OpenBatch(1), large_origin(0)
    _, first_bytes = batch.room_for([asked(number, origin) for number in range(4)])
    assert BATCH_BYTES - first_bytes < 2 * origin.ByteSize()
    batch.add_all([asked(5, origin)], [decided(100)])
    counted = batch.bytes
    batch.add_all([asked(6, origin)], [decided(100)])
    assert batch.bytes - counted < origin.ByteSize()
