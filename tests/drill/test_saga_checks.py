"""The checks of a drill of sagas: silent while each saga ended as it should, and each planted fault is named."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from google.protobuf.message import Message

from bank.app import app
from bank.drill_saga_load import TransferLoad, saga_of
from bank.v1.commands_pb2 import Deposit
from bank.v1.events_pb2 import (
    AccountOpened,
    Deposited,
    FeeCharged,
    FeeRefunded,
    TransferCompleted,
    TransferFailed,
    TransferRequested,
    WithdrawalReversed,
    Withdrawn,
)
from bennu.drill.calls import OK, Answer, Call, command_of
from bennu.drill.journals import Journal, read_journal
from bennu.drill.saga_journals import COMPENSATED, COMPENSATION_FAILED, COMPLETED, Sagas, read_sagas
from bennu.drill.saga_result import SagaResult
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.replica.journal import encode
from bennu.v1.saga_pb2 import SagaEnded, SagaStarted, SagaStatus
from tests.journal_writer import Entry, JournalWriter

Story = Sequence[Message]

OPENED = [
    *(AccountOpened(account=name, owner="Ann", currency="EUR") for name in ("alice", "bob")),
    Deposited(account="alice", amount_minor=100, currency="EUR", balance_minor=100),
]
OUT = Withdrawn(account="alice", amount_minor=30, currency="EUR", balance_minor=70, transfer="t")
IN = Deposited(account="bob", amount_minor=30, currency="EUR", balance_minor=30, transfer="t")
BACK = WithdrawalReversed(account="alice", amount_minor=30, currency="EUR", balance_minor=100, transfer="t")
AGAIN = WithdrawalReversed(account="alice", amount_minor=30, currency="EUR", balance_minor=130, transfer="t")
ASKED = TransferRequested(transfer="t", source="alice", target="bob", amount_minor=30, currency="EUR")
TOLD, REFUSED = TransferCompleted(transfer="t"), TransferFailed(transfer="t", reason="account_closed")

DEAR = TransferRequested(transfer="t", source="alice", target="bob", amount_minor=30, currency="EUR", fee_minor=3)
FEE = FeeCharged(account="alice", amount_minor=3, currency="EUR", balance_minor=67, transfer="t")
FEE_BACK = FeeRefunded(account="alice", amount_minor=3, currency="EUR", balance_minor=70, transfer="t")

PAID, UNDONE, HALF = [ASKED, OUT, IN, TOLD], [ASKED, OUT, BACK, REFUSED], [ASKED, OUT]
DEAR_PAID, DEAR_UNDONE = [DEAR, OUT, FEE, IN, TOLD], [DEAR, OUT, FEE, FEE_BACK, BACK, REFUSED]


async def written(topic: str, events: Story) -> MemoryLog:
    """A log with one journal, each event in a batch of its own."""
    log = MemoryLog(MemoryBroker())
    await log.create(topic)
    writer = JournalWriter(log, topic)
    await writer.epoch()
    for number, event in enumerate(events):
        await writer.batch([Entry(str(number), [event])], recorded_at_us=0)
    return log


def journal(story: Story) -> Journal:
    """The bank's, after what opened it."""

    async def read() -> Journal:
        return await read_journal(await written("bank-events-0", [*OPENED, *story]), app, 0)

    return asyncio.run(read())


def begun(*names: str) -> Story:
    return [SagaStarted(saga_id=saga_of(name), definition="TransferSaga", version=1) for name in names]


def ended(**statuses: SagaStatus.ValueType) -> Story:
    return [SagaEnded(saga_id=saga_of(name), status=status) for name, status in statuses.items()]


def sagas(records: Story) -> Sagas:
    """What their journal says."""

    async def read() -> Sagas:
        return await read_sagas(await written("bank-saga-0", records), "bank", 1)

    return asyncio.run(read())


def judged(records: Story, *asked: str) -> SagaResult:
    result = SagaResult()
    result.judge(sagas(records), [saga_of(name) for name in asked])
    return result


def test_sagas_that_ended_are_counted_by_how() -> None:
    """Each of the three ends counts, and there is nothing to complain of."""
    statuses: Mapping[str, SagaStatus.ValueType] = {"a": COMPLETED, "b": COMPENSATED, "c": COMPENSATION_FAILED}
    result = judged([*begun(*statuses), *ended(**statuses)], *statuses)
    numbers = result.numbers()
    assert [numbers[name] for name in ("started", "completed", "compensated", "compensation_failed")] == [3, 1, 1, 1]
    assert (numbers["stuck"], result.problems) == (0, [])


def test_a_saga_that_does_not_end_is_stuck() -> None:
    """I8: one that began, and one that should have begun."""
    result = judged([*begun("a", "b"), *ended(a=COMPLETED)], "a", "never")
    assert result.numbers()["stuck"] == 2
    assert result.problems == ["2 sagas have not ended: TransferSaga:b, TransferSaga:never"]


def test_a_saga_that_ends_twice_is_named() -> None:
    """I8: each one has one end."""
    result = judged([*begun("a"), *ended(a=COMPLETED), *ended(a=COMPENSATED)], "a")
    assert result.problems == ["1 sagas began or ended more than once: TransferSaga:a"]


def test_what_a_deposed_leader_wrote_ends_no_saga() -> None:
    """Its batch is void, whatever stands in it."""

    async def read() -> Sagas:
        log = MemoryLog(MemoryBroker())
        await log.create("bank-saga-0")
        writer = JournalWriter(log, "bank-saga-0")
        await writer.epoch(term=1)
        await writer.batch([Entry("1", begun("a"))], recorded_at_us=0)
        late = writer.build([Entry("2", ended(a=COMPLETED))], recorded_at_us=0)
        await writer.epoch(term=2)
        await writer.append(encode(late))
        return await read_sagas(log, "bank", 1)

    assert asyncio.run(read()).stuck([]) == ["TransferSaga:a"]


LOAD = TransferLoad(1, 10, seed=1, name="test")


def misjudged(status: SagaStatus.ValueType, story: Story) -> list[str]:
    return LOAD.misjudged(sagas([*begun("t"), *ended(t=status)]), [journal(story)])


@pytest.mark.parametrize(
    ("status", "story"),
    [
        (COMPLETED, PAID),
        (COMPENSATED, UNDONE),
        (COMPENSATED, [ASKED, REFUSED]),
        (COMPENSATION_FAILED, HALF),
        (COMPLETED, DEAR_PAID),
        (COMPENSATED, DEAR_UNDONE),
    ],
)
def test_a_saga_that_did_what_it_says_is_right(status: SagaStatus.ValueType, story: Story) -> None:
    """Paid; undone, or never begun; half undone."""
    assert misjudged(status, story) == []


@pytest.mark.parametrize(
    ("status", "story"),
    [
        (COMPLETED, [ASKED, OUT, TOLD]),
        (COMPLETED, UNDONE),
        (COMPENSATED, [ASKED, OUT, REFUSED]),
        (COMPENSATED, [ASKED, OUT, BACK, OUT, AGAIN, REFUSED]),
        (COMPENSATION_FAILED, UNDONE),
        (COMPENSATION_FAILED, [ASKED, OUT, REFUSED]),
        (COMPLETED, [DEAR, OUT, IN, TOLD]),
        (COMPLETED, [ASKED, OUT, FEE, IN, TOLD]),
        (COMPENSATED, [DEAR, OUT, FEE, BACK, REFUSED]),
        (COMPENSATED, [DEAR, OUT, FEE, FEE_BACK, FEE, FEE_BACK, BACK, REFUSED]),
    ],
)
def test_a_saga_that_did_something_else_is_named(status: SagaStatus.ValueType, story: Story) -> None:
    """I8: money or a fee that did not move, or did not come back, or twice; an initiator who heard otherwise."""
    (problem,) = misjudged(status, story)
    assert problem.startswith("t ended as ")


def conserved(story: Story) -> list[str]:
    paid_in = command_of(app, 1, Deposit(account="alice", amount_minor=100, currency="EUR"), command_id="fund")
    call = Call(paid_in, 0.0, attempts=1, answer=Answer(1.0, "n1", OK, b"", ""))
    return LOAD.conserved([call], [journal(story)])


@pytest.mark.parametrize("story", [PAID, UNDONE, HALF, DEAR_PAID, DEAR_PAID[:3], DEAR_UNDONE])
def test_money_in_accounts_in_transit_and_in_fees_is_what_was_paid_in(story: Story) -> None:
    """I9, wherever a transfer stands."""
    assert conserved(story) == []


def test_money_from_nowhere_and_a_wrong_balance_are_found() -> None:
    """I9: a deposit that nobody made, and an event whose balance does not follow."""
    nowhere = Deposited(account="bob", amount_minor=5, currency="EUR", balance_minor=5)
    assert conserved([nowhere]) == ["100 was paid in, but accounts, transit and fees hold 105"]
    fee = FeeCharged(account="alice", amount_minor=3, currency="EUR", balance_minor=98, transfer="t")
    assert conserved([fee]) == ["bank-events-0, batch 4: alice holds 97, but the event says 98"]
    assert conserved([ASKED, OUT, AGAIN]) == ["bank-events-0, batch 6: alice holds 100, but the event says 130"]
