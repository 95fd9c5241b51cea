"""The tables of sagas: what the records of real stories lead to, in a real Postgres."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from google.protobuf.message import Message

from bank.v1.commands_pb2 import Withdraw
from bank.v1.events_pb2 import Deposited, TransferCompleted
from bennu.domain import Retry, State, hears
from bennu.errors import Final, UnknownToBuild
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.v1.saga_pb2 import (
    SagaCommandIssued,
    SagaCommandRole,
    SagaEnded,
    SagaOperation,
    SagaParked,
    SagaRetryScheduled,
    SagaStarted,
)
from bennu_qserver.dispatch import compile_projections
from bennu_qserver.events import project
from bennu_qserver.rows import RowChanges
from bennu_qserver.values import array_text
from tests.journal_writer import Entry, JournalWriter
from tests.qserver.history import START_US, at
from tests.qserver.loops import stopped_by
from tests.qserver.sagas import BANK, Row, SagaJournal, shown, tables
from tests.saga.story import DEPOSIT, WITHDRAW, Story, impatient, raises_instead, saga, undoable
from travel.app import app as travel

pytestmark = pytest.mark.real

FORWARD = SagaCommandRole.SAGA_COMMAND_ROLE_FORWARD

RETRY, SKIP, COMPENSATE, RESOLVE = (
    SagaOperation.SAGA_OPERATION_RETRY,
    SagaOperation.SAGA_OPERATION_SKIP,
    SagaOperation.SAGA_OPERATION_COMPENSATE,
    SagaOperation.SAGA_OPERATION_RESOLVE,
)
SECOND_US = 1_000_000
STATE = "status turned_back reason parked ended_at"
STEPS = "step name phase role attempts last_error awaited"
COMMANDS = "command_id accepted reason"

Move = Callable[[Story], object]


async def _after(dsn: str, story: Story, moves: Sequence[Move]) -> dict[str, list[Row]]:
    journal = SagaJournal()
    await journal.begin()
    story.starts()
    await journal.tell(story)
    for move in moves:
        move(story)
        await journal.tell(story)
    async with shown(journal, dsn, story.definitions.app) as connection:
        return await tables(connection)


def after(dsn: str, story: Story, *moves: Move) -> dict[str, list[Row]]:
    """The tables once a story has begun and these moves were made, each a batch."""
    return asyncio.run(_after(dsn, story, moves))


def cut(rows: Sequence[Row], columns: str) -> list[tuple[Any, ...]]:
    """These columns of the rows."""
    return [tuple(row[name] for name in columns.split()) for row in rows]


def batch_at(number: int) -> object:
    """Journaled time of a batch, as Postgres gives it back."""
    return at(START_US + number * SECOND_US)


def accepts(story: Story) -> None:
    """The awaited command is carried out."""
    story.accepts()


def refuses(story: Story) -> None:
    """It is refused."""
    story.refuses("account_closed")


def operates(operation: SagaOperation.ValueType, step: str = "") -> Move:
    """An operator decides."""
    return lambda story: story.operates(operation, step)


def test_a_transfer_that_completes(database: str) -> None:
    """Its saga, steps and commands, with everything that is known of them and journaled times."""
    found = after(database, Story(), accepts, accepts, accepts)
    (row,) = found["sagas"]
    assert cut([row], STATE) == [("completed", False, None, None, batch_at(4))]
    assert cut([row], "saga_id instance definition version partition seq outcome") == [
        ("TransferSaga:t", "0-1", "TransferSaga", 1, 0, 1, "completed")
    ]
    assert cut([row], "started_at updated_at correlation_id causation_id data") == [
        (batch_at(1), batch_at(4), "correlation", "asked", None)
    ]
    assert json.loads(row["trigger"])["source"] == "a"
    assert cut(found["saga_steps"], STEPS) == [
        (0, "withdraw", "done", "forward", 1, None, None),
        (1, "deposit", "done", "forward", 1, None, None),
        (2, "", "done", "closing", 1, None, None),
    ]
    assert cut(found["saga_commands"], "command_id step role destination no issued_at answered_at accepted") == [
        ("saga:TransferSaga:t:0-1:0f", 0, "forward", "bank-commands-0", 1, batch_at(1), batch_at(2), True),
        ("saga:TransferSaga:t:0-1:1f", 1, "forward", "bank-commands-0", 2, batch_at(2), batch_at(3), True),
        ("saga:TransferSaga:t:0-1:2e", 2, "closing", "bank-commands-0", 3, batch_at(3), batch_at(4), True),
    ]
    assert json.loads(found["saga_commands"][0]["payload"])["account"] == "a"


def test_a_transfer_that_turns_back(database: str) -> None:
    """Why, and what is being undone; what is to come is there from the start."""
    found = after(database, Story(), accepts, refuses)
    assert cut(found["sagas"], STATE) == [("compensating", True, "account_closed", None, None)]
    assert cut(found["saga_steps"], STEPS) == [
        (0, "withdraw", "asked", "compensation", 1, None, "saga:TransferSaga:t:0-1:0c"),
        (1, "deposit", "refused", "forward", 1, "account_closed", None),
    ]
    assert cut(found["saga_commands"], COMMANDS) == [
        ("saga:TransferSaga:t:0-1:0c", None, None),
        ("saga:TransferSaga:t:0-1:0f", True, None),
        ("saga:TransferSaga:t:0-1:1f", False, "account_closed"),
    ]


def test_a_transfer_that_is_paid_back(database: str) -> None:
    """It ends as compensated, with its reason."""
    found = after(database, Story(), accepts, refuses, accepts, accepts)
    assert cut(found["sagas"], STATE) == [("compensated", True, "account_closed", None, batch_at(5))]
    assert cut(found["saga_steps"], "name phase") == [("withdraw", "undone"), ("deposit", "refused"), ("", "done")]


def test_a_step_that_is_not_answered(database: str) -> None:
    """When it is given up or asked again, and that it was: one command, however often it is sent."""
    patient = undoable("one", timeout_ms=60_000, retry=Retry(limit=1))
    waits = after(database, Story(saga(patient, DEPOSIT)))
    assert cut(waits["saga_steps"], "phase due_at") == [("asked", at(61 * SECOND_US)), ("waiting", None)]


def test_a_step_that_is_asked_again(database: str) -> None:
    """Its newest sending is shown beside the first one's time; after the last one it is given up and undone."""
    patient = undoable("one", timeout_ms=60_000, retry=Retry(limit=1))
    story = Story(saga(patient, DEPOSIT))
    found = after(database, story, Story.times_out, Story.times_out)
    assert cut(found["saga_steps"][:1], "phase attempts last_error") == [("asked", 2, "step_timed_out")]
    assert cut(found["saga_commands"], "no attempt issued_at asked_at answered_at") == [
        (2, 1, batch_at(1), batch_at(3), None)
    ]


def test_a_step_that_is_given_up(database: str) -> None:
    """It turns the saga back, and its compensation says which command it undoes."""
    found = after(database, Story(), Story.times_out)
    assert cut(found["sagas"], STATE) == [("compensating", True, "step_timed_out", None, None)]
    assert cut(found["saga_commands"], "role compensates") == [
        ("compensation", "saga:TransferSaga:t:0-1:0f"),
        ("forward", None),
    ]


def test_a_compensation_that_fails(database: str) -> None:
    """It stands in `compensation_failed` with both reasons, and goes on when an operator says so."""
    story = Story(saga(impatient(WITHDRAW), DEPOSIT))
    failed = "account_closed; compensation of step 0: account_closed"
    stands = after(database, story, accepts, refuses, refuses)
    assert cut(stands["sagas"], STATE) == [("compensation_failed", True, failed, None, batch_at(4))]


@pytest.mark.parametrize("operation", [operates(RETRY), operates(SKIP, "withdraw")])
def test_a_failed_compensation_that_goes_on(database: str, operation: Move) -> None:
    """Asked for anew or taken as done by hand, the saga is being compensated again, and has no end yet."""
    story = Story(saga(impatient(WITHDRAW), DEPOSIT))
    found = after(database, story, accepts, refuses, refuses, operation)
    (state,) = cut(found["sagas"], "status parked ended_at operated_by operated_reason operated_at")
    assert state == ("compensating", None, None, "operator", "because", batch_at(5))


def test_operations_are_shown(database: str) -> None:
    """The last one, by whom and why; a step that was taken as done by hand is `skipped`."""
    found = after(database, Story(saga(WITHDRAW, DEPOSIT)), operates(SKIP, "withdraw"))
    assert cut(found["sagas"], "status operation operated_step") == [("running", "skip", 0)]
    assert cut(found["saga_steps"], "phase awaited") == [
        ("skipped", None),
        ("asked", "saga:Told:t:0-1:1f"),
    ]


def test_a_saga_that_an_operator_turned_back(database: str) -> None:
    """Its reason is the operator's."""
    found = after(database, Story(), operates(COMPENSATE))
    assert cut(found["sagas"], STATE) == [("compensating", True, "because", None, None)]


def test_a_saga_that_an_operator_ended(database: str) -> None:
    """It is `resolved`."""
    found = after(database, Story(), operates(RESOLVE))
    assert cut(found["sagas"], STATE) == [("resolved", False, "because", None, batch_at(2))]


def test_a_parked_saga(database: str) -> None:
    """Why and where it is parked; its step shows the same, and what was carried out is `done`."""
    story = Story(saga(WITHDRAW, undoable("two", when=raises_instead), DEPOSIT))
    found = after(database, story, accepts)
    (row,) = found["sagas"]
    assert "no idea" in row["parked"]
    assert cut([row], "status parked_step parked_at") == [("running", 1, batch_at(2))]
    assert cut(found["saga_steps"], "phase last_error")[:2] == [("done", None), ("waiting", row["parked"])]


def test_a_parked_saga_that_goes_on(database: str) -> None:
    """It is parked no more."""
    story = Story(saga(WITHDRAW, undoable("two", when=raises_instead), DEPOSIT))
    found = after(database, story, accepts, operates(SKIP, "two"))
    assert cut(found["sagas"], "parked parked_step parked_at") == [(None, None, None)]


def starts(story: Story) -> None:
    """The same transfer is asked for again."""
    story.starts()


def test_an_id_that_is_used_again(database: str) -> None:
    """The new saga takes the place of the one that ended, in all but its commands; instances tell them apart."""
    found = after(database, Story(), accepts, refuses, accepts, accepts, starts)
    assert cut(found["sagas"], f"instance seq {STATE}") == [("0-2", 11, "running", False, None, None, None)]
    assert cut(found["saga_steps"], "instance phase attempts last_error") == [
        ("0-1", "done", 1, None),
        ("0-2", "asked", 1, None),
        ("0-2", "waiting", 0, None),
    ]
    assert [row["instance"] for row in found["saga_commands"]] == ["0-1", "0-1", "0-1", "0-1", "0-2"]


class Seen(State):
    """What a saga remembers."""

    amount_minor: int = 0


@hears
def sees(_self: object, data: Seen, event: Deposited) -> None:
    """The amount."""
    data.amount_minor = event.amount_minor


def test_a_step_that_waits_for_an_event(database: str) -> None:
    """Accepted, it waits; what the saga remembers is shown."""
    waits = undoable("one", success={TransferCompleted: lambda event: event.transfer})
    story = Story(saga(waits, DEPOSIT, data=Seen, sees=sees))
    found = after(database, story, lambda story: story.accepts_step("0f", Deposited(account="a", amount_minor=7)))
    assert cut(found["saga_steps"][:1], STEPS) == [(0, "one", "awaits_event", "forward", 1, None, "saga:Told:t:0-1:0f")]
    assert json.loads(found["sagas"][0]["data"]) == {"amount_minor": 7}


def test_a_step_that_an_event_carries_out(database: str) -> None:
    """It is done, and the next one is asked."""
    waits = undoable("one", success={TransferCompleted: lambda event: event.transfer})
    story = Story(saga(waits, DEPOSIT))
    found = after(database, story, accepts, lambda story: story.hears(TransferCompleted(transfer="t")))
    assert cut(found["saga_steps"], "phase awaited") == [("done", None), ("asked", "saga:Told:t:0-1:1f")]


ODD: dict[str, tuple[list[Message], str, tuple[object, ...]]] = {
    "a zero byte in a text": (
        [SagaStarted(saga_id="S:t\0"), SagaParked(saga_id="S:t\0", reason="not \0 so")],
        "saga_id parked",
        ("S:t\ufffd", "not \ufffd so"),
    ),
    "a trigger that this build does not know": (
        [SagaStarted(saga_id="S:t", trigger_type="bank.v9.Odd", trigger=b"\xff")],
        "trigger_type trigger",
        ("bank.v9.Odd", None),
    ),
    "a trigger that is no message": (
        [SagaStarted(saga_id="S:t", trigger_type="bank.v1.TransferRequested", trigger=b"\xff")],
        "trigger",
        (None,),
    ),
    "an end of a saga that nobody saw begin": (
        [SagaEnded(saga_id="S:u"), SagaStarted(saga_id="S:t")],
        "outcome",
        (None,),
    ),
}


@pytest.mark.parametrize("case", ODD)
def test_what_is_odd_stops_nothing(database: str, case: str) -> None:
    """A record that can't be shown as it is is shown as well as it can be."""
    records, columns, expected = ODD[case]

    async def told() -> list[Row]:
        journal = SagaJournal()
        await journal.begin()
        await journal.batch(*records)
        async with shown(journal, database) as connection:
            return (await tables(connection))["sagas"]

    assert cut(asyncio.run(told()), columns) == [expected]


def test_a_command_to_another_app_is_shown() -> None:
    """Its payload is read by the types of whichever app takes it."""
    (declared,) = compile_projections(travel)
    projection = declared.in_generation(1)
    rows = RowChanges(projection.statements, projection.topic(0))
    payload = Withdraw(account="ann").SerializeToString()
    issued = SagaCommandIssued(saga_id="S:t", role=FORWARD, type="bank.v1.Withdraw", payload=payload)
    writer = JournalWriter(MemoryLog(MemoryBroker()), projection.topic(0))
    batch = writer.build([Entry("cause", [issued])], recorded_at_us=1)
    for event in projection.events(batch, partition=0, where="here"):
        project(event, rows)
    assert array_text(['{"account":"ann"}']) in [array for write in rows.writes() for array in write.arrays]


def test_a_record_of_a_newer_build_stops(database: str) -> None:
    """A type that this build does not know is never skipped: topic, offset and type are named."""

    async def told() -> Final:
        journal = SagaJournal()
        await journal.begin()
        await journal.batch(SagaStarted(saga_id="S:t"), Deposited())
        return await stopped_by(journal.log, database, app=BANK)

    error = asyncio.run(told())
    assert isinstance(error, UnknownToBuild)
    assert str(error).startswith("bank-saga-0, offset 1: event type bank.v1.Deposited is not known")


def test_a_timer_beyond_all_calendars(database: str) -> None:
    """It is shown as the last moment that Postgres' clients can read."""

    async def told() -> list[Row]:
        journal = SagaJournal()
        await journal.begin()
        await journal.batch(SagaRetryScheduled(saga_id="S:t", due_at_us=2**62))
        async with shown(journal, database) as connection:
            return (await tables(connection))["saga_steps"]

    assert asyncio.run(told())[0]["due_at"].year == 9999
