"""The tables of the bank's transfer of today: steps that are left out, and some that are under way at the same time."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from bank import transfer_v2
from bank.transfer import SCREENED_FROM_MINOR, fee_of
from bank.v1.events_pb2 import TransferRequested
from tests.qserver.sagas import Row, SagaJournal, shown, tables
from tests.saga.story import ASKED, Story

pytestmark = pytest.mark.real

LARGE = TransferRequested(
    transfer="t",
    source="a",
    target="b",
    amount_minor=SCREENED_FROM_MINOR,
    currency="EUR",
    fee_minor=fee_of(SCREENED_FROM_MINOR),
    screened=True,
)


def after(dsn: str, asked: TransferRequested, *moves: Callable[[Story], object]) -> dict[str, list[Row]]:
    """The tables once this transfer has begun and these moves were made, each a batch."""

    async def life() -> dict[str, list[Row]]:
        story, journal = Story(transfer_v2.TransferSaga), SagaJournal()
        await journal.begin()
        for move in (lambda told: told.starts(asked), *moves):
            move(story)
            await journal.tell(story)
        async with shown(journal, dsn, story.definitions.app) as connection:
            return await tables(connection)

    return asyncio.run(life())


def cut(rows: Sequence[Row], columns: str) -> list[tuple[Any, ...]]:
    """These columns of the rows."""
    return [tuple(row[name] for name in columns.split()) for row in rows]


def test_what_a_small_transfer_leaves_out_is_shown(database: str) -> None:
    """Fee and check were left out, and nothing was asked for them."""
    found = after(database, ASKED, Story.accepts, Story.accepts, Story.accepts)
    assert cut(found["sagas"], "saga_id version status") == [("TransferSaga:t", 2, "completed")]
    assert cut(found["saga_steps"], "step name phase") == [
        (0, "withdraw", "done"),
        (1, "fee", "left_out"),
        (2, "screening", "left_out"),
        (3, "deposit", "done"),
        (4, "", "done"),
    ]
    assert cut(found["saga_commands"], "step") == [(0,), (3,), (4,)]


def test_what_a_large_transfer_does_at_the_same_time_is_shown(database: str) -> None:
    """One of the three is answered, two are waited for, and the deposit has not begun."""
    found = after(database, LARGE, lambda story: story.accepts_step("1f"))
    assert cut(found["saga_steps"], "step name phase") == [
        (0, "withdraw", "asked"),
        (1, "fee", "done"),
        (2, "screening", "asked"),
        (3, "deposit", "waiting"),
    ]


def test_how_a_transfer_to_a_blocked_payee_was_undone_is_shown(database: str) -> None:
    """Who refused and why, and what was undone."""
    found = after(
        database,
        LARGE,
        lambda story: story.refuses_step("2f", "payee_blocked"),
        lambda story: story.accepts_step("0f"),
        lambda story: story.accepts_step("1f"),
        lambda story: story.accepts_step("1c"),
        lambda story: story.accepts_step("0c"),
        lambda story: story.accepts(),
    )
    assert cut(found["sagas"], "status reason") == [("compensated", "payee_blocked")]
    assert cut(found["saga_steps"], "name phase last_error") == [
        ("withdraw", "undone", None),
        ("fee", "undone", None),
        ("screening", "refused", "payee_blocked"),
        ("deposit", "waiting", None),
        ("", "done", None),
    ]
