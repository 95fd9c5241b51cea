"""A batch whose columns do not fit is refused by name, also where all of its numbers are the usual ones."""

from typing import Any

import pytest

from bennu.errors import RecordBroken, UnknownToBuild
from bennu.replica.columns import DIGEST_BYTES, check_columns
from bennu.v1.journal_pb2 import EventBatch

USUAL: dict[str, Any] = {
    "command_types": ["bank.v1.Deposit"],
    "command_ids": ["a", "b"],
    "payload_digests": bytes(2 * DIGEST_BYTES),
    "command_type_indexes": [0, 0],
    "event_counts": [1, 1],
    "outcomes": [0, 0],
    "event_types": ["bank.v1.Deposited"],
    "event_type_indexes": [0, 0],
    "events": [b"1", b"2"],
}
"""Two commands, each answered by the one event that it has."""


def batch(**changed: object) -> EventBatch:
    """The usual one, but for these columns."""
    return EventBatch(**{**USUAL, **changed})


@pytest.mark.parametrize(
    "fits",
    [
        {},
        {name: [] for name in USUAL if name != "payload_digests"} | {"payload_digests": b""},
        {"outcomes": [0, 2], "event_counts": [2, 0], "replies": [b"no"]},
        {"outcomes": [0, 1], "replies": [b"yes"]},
        {"event_types": ["bank.v1.Deposited", "bank.v1.Withdrawn"], "event_type_indexes": [1, 0]},
    ],
)
def test_what_fits_is_taken(fits: dict[str, object]) -> None:
    """Also a batch of nothing, and one of refusals, replies and several events."""
    check_columns(batch(**fits), "here")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"event_counts": [1]}, "another number of outcomes, event counts"),
        ({"outcomes": [0]}, "another number of outcomes, event counts"),
        ({"command_type_indexes": [0, 0, 0]}, "another number of outcomes, event counts or command types"),
        ({"payload_digests": bytes(DIGEST_BYTES)}, "bytes of digests"),
        ({"events": [b"1"], "event_type_indexes": [0]}, "another number of types or counts"),
        ({"event_type_indexes": [0]}, "another number of types or counts"),
        ({"event_counts": [2, 1]}, "another number of types or counts"),
        ({"outcomes": [0, 2]}, "another number of outcomes that have one"),
        ({"replies": [b"x"]}, "another number of outcomes that have one"),
        ({"event_counts": [2, 0]}, "has none"),
        ({"event_type_indexes": [0, 1]}, "an event's type is not among the batch's"),
        ({"event_types": []}, "an event's type is not among the batch's"),
        ({"command_type_indexes": [0, 1]}, "a command's type is not among the batch's"),
        ({"command_types": []}, "a command's type is not among the batch's"),
    ],
)
def test_what_does_not_fit_is_named(broken: dict[str, object], said: str) -> None:
    """With the batch and the place."""
    with pytest.raises(RecordBroken) as refused:
        check_columns(batch(**broken), "here")
    assert str(refused.value).startswith("here: batch 0 is broken, its columns do not fit together: ")
    assert said in str(refused.value)


def test_an_outcome_of_another_build_is_not_known() -> None:
    """It is no broken record: a newer build reads it."""
    with pytest.raises(UnknownToBuild, match="batch 0 has outcome 9"):
        check_columns(batch(outcomes=[0, 9]), "here")
