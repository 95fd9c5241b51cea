"""The kit for sagas' tests: it fails where a saga's test must fail, and says how."""

import itertools
import time
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty

from bank.app import app
from bank.transfer import TransferSaga, deposit, reverse, withdraw
from bank.v1.commands_pb2 import CompleteTransfer, FailTransfer, Transfer
from bank.v1.events_pb2 import AccountOpened, TransferCompleted, TransferFailed, TransferRequested, Withdrawn
from bennu.domain import NOTHING, Parallel, Retry, Saga, State, Step, Tcc, hears
from bennu.errors import BadSettings
from bennu.testing.saga import Signal, ToldSaga, accepted, after, given_saga, refused, unanswered
from tests.saga.story import ASKED, DEPOSIT, WITHDRAW, saga

OTHER = TransferRequested(transfer="other", source="a", target="b", amount_minor=1, currency="EUR")
COUNTER = itertools.count()


def told(*history: Signal, rules: type[Saga[Any]] = TransferSaga) -> ToldSaga:
    """A saga of the bank."""
    return given_saga(rules, *history, app=app)


# --- what is told, and what comes of it


def test_a_saga_is_told_step_by_step() -> None:
    """Each answer leads to the next command, the closing one to the end."""
    told(ASKED).then(withdraw(ASKED)).then_is("running").when(accepted("withdraw")).then(deposit(ASKED)).when(
        accepted("deposit")
    ).then(CompleteTransfer(transfer="t")).when(accepted()).then().then_is("completed", "")


def test_a_refusal_turns_it_back() -> None:
    """What was done is undone, and the initiator hears the reason."""
    told(ASKED, accepted("withdraw")).when(refused("deposit", "frozen")).then(reverse(ASKED)).then_is(
        "compensating", "frozen"
    ).when(accepted("withdraw")).then(FailTransfer(transfer="t", reason="frozen")).when(accepted()).then_is(
        "compensated"
    )


def test_several_may_begin_alike() -> None:
    """`when` leaves what was told before as it is."""
    half = told(ASKED, accepted("withdraw"))
    half.when(accepted("deposit")).then(CompleteTransfer(transfer="t"))
    half.when(refused("deposit", "frozen")).then(reverse(ASKED))


def test_a_step_that_is_not_answered_is_given_up_by_its_timer() -> None:
    """Time is the test's: one millisecond less, and it still waits."""
    told(ASKED).when(after(59_999)).then().then_is("running").when(after(1)).then(reverse(ASKED))
    told(ASKED).when(unanswered("withdraw")).then(reverse(ASKED)).then_is("compensating", "step_timed_out")


def test_a_step_that_is_asked_for_again() -> None:
    """Its pause passes, too: what goes out is the command once more, then its compensation."""
    patient = Step("withdraw", withdraw, compensation=reverse, timeout_ms=1_000, retry=Retry(limit=1))
    story = told(ASKED, rules=saga(patient, DEPOSIT)).when(unanswered()).then(withdraw(ASKED))
    story.when(unanswered("withdraw")).then(reverse(ASKED))


def test_steps_of_a_group_go_out_together() -> None:
    """In the order of their declaration, and each is answered by its name."""
    group = saga(Parallel(WITHDRAW, Step("check", deposit, compensation=NOTHING)), DEPOSIT)
    told(ASKED, rules=group).then(withdraw(ASKED), deposit(ASKED)).when(accepted("check")).then().when(
        accepted("withdraw")
    ).then(deposit(ASKED))


def test_what_was_tried_is_confirmed_by_its_own_step() -> None:
    """The confirmation of a `Tcc` is answered by its name."""
    tried = saga(Tcc("pay", withdraw, confirm=deposit, cancel=reverse))
    told(ASKED, accepted("pay"), rules=tried).then(deposit(ASKED)).when(accepted("pay.confirm")).then(
        CompleteTransfer(transfer="t")
    )


class Seen(State):
    """What the saga remembers."""

    withdrawn_minor: int = 0


@hears
def remember(_self: object, data: Seen, event: Withdrawn) -> None:
    """As a rule of a saga."""
    data.withdrawn_minor += event.amount_minor


HEARING = saga(WITHDRAW, DEPOSIT, data=Seen, remember=remember)


def test_events_of_an_answer_are_heard() -> None:
    """They change what the saga remembers, which stays to be looked at when it has ended."""
    story = told(ASKED, accepted("withdraw", Withdrawn(amount_minor=7)), rules=HEARING).then_data(withdrawn_minor=7)
    story.when(accepted("deposit")).when(accepted()).then_is("completed").then_data(withdrawn_minor=7)


def test_a_step_may_wait_for_an_event() -> None:
    """An answer is not enough; the event that it waits for carries it out, another one refuses it."""
    waiting = Step(
        "sub",
        withdraw,
        compensation=reverse,
        success={TransferCompleted: lambda event: event.transfer},
        refusal={TransferFailed: lambda event: event.transfer},
    )
    story = told(ASKED, rules=saga(waiting, DEPOSIT)).when(accepted("sub")).then()
    story.when(TransferCompleted(transfer="t")).then(deposit(ASKED))
    story.when(TransferFailed(transfer="t")).then(FailTransfer(transfer="t", reason="TransferFailed"))
    story.when(TransferCompleted(transfer="other")).then().then_is("running")


def test_a_rule_that_raises_parks_it() -> None:
    """With what it raised as the reason."""

    def careless(_asked: TransferRequested) -> CompleteTransfer:
        raise ValueError("no idea")

    told(ASKED, rules=saga(Step("one", careless))).then().then_is("parked", "rule_failed: ValueError: no idea")


def test_a_compensation_that_stays_refused() -> None:
    """Half undone is an end of its own."""
    once = Step("withdraw", withdraw, compensation=reverse, undo_retry=Retry(limit=0))
    story = told(ASKED, accepted("withdraw"), refused("deposit", "frozen"), rules=saga(once, DEPOSIT))
    story.when(refused("withdraw", "unknown")).then().then_is("compensation_failed")


def test_an_older_version_is_told_as_well() -> None:
    """It still ends what began with it, and its tests stay."""
    newer = type("TransferSaga", (TransferSaga,), {"version": 2, "__qualname__": "TransferSaga"})
    for rules in (TransferSaga, newer):
        told(ASKED, rules=rules).then(withdraw(ASKED))


# --- where it fails


def test_other_commands_fail_it() -> None:
    """Expected and sent, and the saga in a line."""
    with pytest.raises(AssertionError) as failure:
        told(ASKED, accepted("withdraw")).when(refused("deposit", "frozen")).then(
            FailTransfer(transfer="t", reason="frozen")
        )
    assert str(failure.value).splitlines() == [
        "when deposit was refused: frozen",
        "  expected: [FailTransfer(transfer='t', reason='frozen')]",
        "  sent:     [ReverseWithdrawal(account='a', transfer='t', amount_minor=1, currency='EUR')]",
        "  saga:     TransferSaga:t is compensating (frozen): withdraw being undone, deposit not done",
    ]


@pytest.mark.parametrize("commands", [(), (withdraw(ASKED), withdraw(ASKED)), (deposit(ASKED),)])
def test_fewer_or_more_commands_fail_it(commands: tuple[Any, ...]) -> None:
    """Exactly those that are named go out."""
    with pytest.raises(AssertionError, match="when TransferRequested"):
        told(ASKED).then(*commands)


def test_the_order_of_commands_matters() -> None:
    """Those of a group stand as they go out."""
    group = saga(Parallel(WITHDRAW, Step("check", deposit, compensation=NOTHING)), DEPOSIT)
    with pytest.raises(AssertionError, match="sent"):
        told(ASKED, rules=group).then(deposit(ASKED), withdraw(ASKED))


def test_another_status_or_reason_fails_it() -> None:
    """A status alone leaves the reason open; a reason must be the saga's."""
    story = told(ASKED, refused("withdraw", "frozen"))
    story.then_is("compensating")
    with pytest.raises(AssertionError, match=r"expected: running \(frozen\)\n  saga:     TransferSaga:t is compens"):
        story.then_is("running")
    with pytest.raises(AssertionError, match=r"expected: compensating \(closed\)"):
        story.then_is("compensating", "closed")


def test_other_data_fails_it() -> None:
    """Fields that differ are shown."""
    with pytest.raises(AssertionError, match=r"expected: {'withdrawn_minor': 1}\n  data:     {'withdrawn_minor': 0}"):
        told(ASKED, rules=HEARING).then_data(withdrawn_minor=1)
    with pytest.raises(AssertionError, match="has no field `hour`; it has withdrawn_minor"):
        told(ASKED, rules=HEARING).then_data(hour=7)


def test_a_rule_with_a_memory_fails_it() -> None:
    """What a saga says follows from what it was told alone."""
    counting = saga(Step("one", lambda asked: FailTransfer(transfer=asked.transfer, reason=str(next(COUNTER)))))
    with pytest.raises(AssertionError, match="Told says two things about the same"):
        told(ASKED, rules=counting)


def test_a_rule_that_reads_a_clock_fails_it() -> None:
    """By the name of what it reads."""
    timed = saga(Step("one", lambda asked: FailTransfer(transfer=asked.transfer, reason=str(time.time() // 1e9))))
    with pytest.raises(AssertionError, match=r"a rule of Told reads time\.time at"):
        told(ASKED, rules=timed)


# --- what can't be told


@pytest.mark.parametrize(
    ("history", "why"),
    [
        ((ASKED, accepted("pay")), "TransferSaga has no step `pay`; its steps are withdraw, deposit"),
        (
            (ASKED, accepted("deposit")),
            "nothing is asked of step `deposit` now, but of withdraw; TransferSaga:t is running: withdraw asked for",
        ),
        (
            (ASKED, refused("withdraw", "no"), accepted(), accepted()),
            "which answer is meant?  TransferSaga waits for nothing: it has ended",
        ),
        ((ASKED, accepted("withdraw"), unanswered()), "no timer runs: TransferSaga:t is running: withdraw done, "),
        ((ASKED, unanswered("deposit")), "the next timer is that of step `withdraw`"),
        ((ASKED, unanswered("pay")), "TransferSaga has no step `pay`"),
        ((accepted("withdraw"),), "TransferSaga was not started: bank.v1.TransferRequested starts it"),
        ((ASKED, OTHER), "TransferSaga:t was told of, and TransferSaga:other is another saga"),
        ((AccountOpened(),), "bank.v1.AccountOpened means nothing to TransferSaga, but as part of an answer"),
        ((Transfer(),), "bank.v1.Transfer is a command"),
    ],
)
def test_what_can_not_happen_is_said(history: tuple[Signal, ...], why: str) -> None:
    """With what was asked for, or could have been told."""
    with pytest.raises(AssertionError) as failure:
        told(*history)
    assert str(failure.value).startswith(why)


def test_an_answer_has_events_of_its_participant() -> None:
    """What no app knows could not come."""
    with pytest.raises(AssertionError, match=r"google\.protobuf\.Empty is no event of `bank`, whose command"):
        told(ASKED, accepted("withdraw", Empty()))
    with pytest.raises(AssertionError, match=r"google\.protobuf\.Empty is no event of bank"):
        told(Empty())


def test_a_declaration_is_checked() -> None:
    """As when the app is loaded."""
    with pytest.raises(BadSettings, match="step `deposit` has no compensation"):
        told(ASKED, rules=saga(DEPOSIT, WITHDRAW))
