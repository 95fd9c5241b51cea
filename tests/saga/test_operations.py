"""What an operator decides about a saga."""

from collections.abc import Callable

import pytest

from bank.transfer import deposit, reverse, withdraw
from bank.v1.commands_pb2 import ReverseWithdrawal
from bank.v1.events_pb2 import TransferCompleted, TransferRequested, Withdrawn
from bennu.domain import Parallel, State, Step, hears
from bennu_saga.operations import NotPossible
from bennu_saga.state import COMPENSATE, RESOLVE, RETRY, SKIP
from tests.saga.story import (
    DEPOSIT,
    LATER_US,
    WITHDRAW,
    Story,
    impatient,
    raises_instead,
    saga,
    started,
    tails,
    undoable,
)


def test_a_failed_compensation_is_tried_again() -> None:
    """With a new id; when it is carried out the saga ends as compensated."""
    story = started(impatient(WITHDRAW), DEPOSIT)
    story.accepts()
    story.refuses("no")
    story.refuses("busy")
    assert story.fold.failed == {"Told:t"}
    assert tails(story.operates(RETRY)) == ["0c1"]
    assert story.fold.failed == set()
    story.accepts()
    assert story.accepts()[-1].startswith("ended compensated")


def test_a_step_may_be_taken_as_done_by_hand() -> None:
    """A forward step or a compensation: what comes next begins, and a late answer is nobody's."""
    story = started(WITHDRAW, DEPOSIT)
    forward = story.awaited
    assert tails(story.operates(SKIP, "withdraw")) == ["1f"]
    assert story.accepts(forward) == []
    back = started(impatient(WITHDRAW), DEPOSIT)
    back.accepts()
    back.refuses("no")
    back.refuses("busy")
    assert tails(back.operates(SKIP, "withdraw")) == ["2e"]


def test_an_operator_may_turn_back() -> None:
    """What is under way is given up, so its compensation names it; after the pivot it is too late."""
    story = started(WITHDRAW, DEPOSIT)
    forward = story.awaited
    assert tails(story.operates(COMPENSATE)) == ["0c"]
    assert story.issued().compensates == forward
    late = started(WITHDRAW, Step("deposit", deposit, pivot=True), Step("notify", deposit))
    late.accepts()
    late.accepts()
    with pytest.raises(NotPossible, match="`deposit` is carried out"):
        late.operates(COMPENSATE)


def test_what_could_only_park_is_not_turned_back() -> None:
    """A step is asked for, and its compensation, in another log, could overtake it: its answer is waited for first."""

    def elsewhere(asked: TransferRequested) -> ReverseWithdrawal:
        return ReverseWithdrawal(account=f"not-{asked.source}", transfer=asked.transfer)

    story = Story(saga(Step("withdraw", withdraw, compensation=elsewhere), DEPOSIT), partitions=64)
    story.starts()
    with pytest.raises(NotPossible, match="`withdraw` is asked for, and its compensation goes to another log"):
        story.operates(COMPENSATE)
    story.accepts_step("0f")
    with pytest.raises(NotPossible, match="`deposit` is asked for, and may be carried out"):
        story.operates(COMPENSATE)
    assert tails(story.refuses_step("1f", "no")) == ["0c"]


def test_an_operator_may_end_it_as_it_stands() -> None:
    """It is gone, and what it waited for with it."""
    story = started(WITHDRAW, DEPOSIT)
    assert story.operates(RESOLVE) == ["operated resolve", "ended resolved: because"]
    assert story.fold.sagas == {}
    assert story.fold.awaiting == {}
    assert story.fold.next_timer() is None


def test_what_was_skipped_is_undone_if_it_was_carried_out() -> None:
    """Its command may have had an effect: its compensation names it."""
    story = started(WITHDRAW, DEPOSIT)
    forward = story.awaited
    story.operates(SKIP, "withdraw")
    story.refuses_step("1f", "no")
    assert story.issued().compensates == forward


def test_a_pivot_that_may_be_carried_out_is_not_turned_back() -> None:
    """Neither while it is asked for, nor when the end is being told."""
    story = started(WITHDRAW, Step("deposit", deposit, pivot=True), Step("notify", deposit))
    story.accepts()
    with pytest.raises(NotPossible, match="`deposit` is asked for, and may be carried out"):
        story.operates(COMPENSATE)
    told = started(WITHDRAW)
    told.accepts()
    with pytest.raises(NotPossible, match="its initiator is being told"):
        told.operates(COMPENSATE)


def test_a_step_that_was_accepted_is_not_asked_for_again() -> None:
    """Parked because a rule raised at its acceptance, it goes on waiting for its event."""

    class Seen(State):
        text: str = ""

    broken = [True]

    @hears
    def fragile(_self: object, data: Seen, event: Withdrawn) -> None:
        if broken[0]:
            raise ValueError("no idea")

    waits = Step("one", withdraw, compensation=reverse, success={TransferCompleted: lambda event: event.transfer})
    story = started(waits, DEPOSIT, data=Seen, fragile=fragile)
    story.accepts_step("0f", Withdrawn(account="a", transfer="t", amount_minor=7))
    broken[0] = False
    assert story.operates(RETRY) == ["operated retry"]
    assert tails(story.hears(TransferCompleted(transfer="t"))) == ["1f"]


NOT_POSSIBLE: dict[str, tuple[Callable[[Story], object], str]] = {
    "retry of what goes on": (lambda story: story.operates(RETRY), "goes on by itself"),
    "an unknown step": (lambda story: story.operates(SKIP, "fly"), "no step `fly`; there are withdraw, deposit"),
    "a step to come": (lambda story: story.operates(SKIP, "deposit"), "not its turn"),
}


@pytest.mark.parametrize("case", NOT_POSSIBLE)
def test_what_makes_no_sense_is_refused(case: str) -> None:
    """And nothing is recorded."""
    what, message = NOT_POSSIBLE[case]
    story = started(WITHDRAW, DEPOSIT)
    before = len(story.records)
    with pytest.raises(NotPossible, match=message):
        what(story)
    assert len(story.records) == before


def test_a_parked_saga_keeps_no_time() -> None:
    """Its timers stand still; once it goes on they are due."""
    story = started(
        Parallel(undoable("one", timeout_ms=60_000), (undoable("two"), undoable("three", when=raises_instead)))
    )
    story.accepts_step("1f")
    assert story.fold.next_timer() is None
    story.operates(SKIP, "three")
    assert story.fold.next_timer() == (LATER_US, "Told:t", 0)


def test_an_answer_that_nobody_understands_parks_its_saga() -> None:
    """The step counts as carried out; only a build that knows what it said goes on by itself."""
    story = started(WITHDRAW, DEPOSIT)
    assert story.answers_strangely("0f", "bank.v9.Odd")[-1].startswith("parked: the answer to")
    with pytest.raises(NotPossible, match=r"bank\.v9\.Odd, which this build does not know"):
        story.operates(RETRY)
    assert tails(story.operates(COMPENSATE)) == ["0c"]
