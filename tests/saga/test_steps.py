"""Steps of every kind: groups, conditions, pivots, retries, try-confirm-cancel, events."""

import pytest

from bank.transfer import deposit, reverse, withdraw
from bank.v1.commands_pb2 import DepositForTransfer, FailTransfer
from bank.v1.events_pb2 import TransferCompleted, TransferFailed, TransferRequested, Withdrawn
from bennu.domain import NOTHING, Parallel, Retry, State, Step, Tcc, hears
from bennu_saga.operations import NotPossible
from bennu_saga.state import RETRY
from tests.saga.story import DEPOSIT, WITHDRAW, Story, started, tails, undoable

# --- groups


def group() -> Story:
    """Three steps at the same time, then a fourth."""
    return started(Parallel(undoable("one"), undoable("two"), undoable("three")), DEPOSIT)


def test_a_group_begins_together_and_ends_with_its_last() -> None:
    """All its commands go out at once; what comes next waits for the last answer."""
    story = group()
    assert tails(story.words) == ["0f", "1f", "2f"]
    assert tails(story.accepts_step("1f") + story.accepts_step("0f")) == []
    assert tails(story.accepts_step("2f")) == ["3f"]


def test_a_group_is_undone_in_the_reverse_order_of_its_answers() -> None:
    """Whoever was carried out last is undone first, one after the other."""
    story = group()
    for tail in ("1f", "0f", "2f"):
        story.accepts_step(tail)
    assert tails(story.refuses_step("3f", "no")) == ["2c"]
    assert tails(story.accepts_step("2c")) == ["0c"]
    assert tails(story.accepts_step("0c")) == ["1c"]
    assert tails(story.accepts_step("1c")) == ["4e"]


def test_what_is_under_way_is_waited_for_before_anything_is_undone() -> None:
    """A refusal in a group undoes nothing until the others have answered, whatever they answer."""
    story = group()
    story.accepts_step("0f")
    assert tails(story.refuses_step("1f", "no")) == []
    assert tails(story.accepts_step("2f")) == ["2c"]
    assert tails(story.accepts_step("2c")) == ["0c"]


def test_a_branch_may_be_a_sequence() -> None:
    """Its second step waits for its first alone."""
    story = started(Parallel((undoable("one"), undoable("two")), undoable("three")), DEPOSIT)
    assert tails(story.words) == ["0f", "2f"]
    assert tails(story.accepts_step("0f")) == ["1f"]
    assert tails(story.accepts_step("1f")) == []
    assert tails(story.accepts_step("2f")) == ["3f"]


def test_a_domain_hears_of_a_rule_that_raised_by_its_reason_alone() -> None:
    """What was raised stands in the journal of the saga, for operators."""
    story = started(undoable("one"), DEPOSIT)
    story.accepts()
    assert story.refuses("rule_failed: a deposit: KeyError")[0] == "refused: rule_failed: a deposit: KeyError"
    story.accepts()
    assert FailTransfer.FromString(story.issued().payload).reason == "rule_failed"


def test_what_needs_no_compensation_is_passed_over() -> None:
    """Only what changed something is undone."""
    story = started(undoable("one"), Step("check", withdraw, compensation=NOTHING), DEPOSIT)
    story.accepts()
    story.accepts()
    assert tails(story.refuses("no")) == ["0c"]


# --- conditions and data


class Seen(State):
    """What the saga remembers."""

    withdrawn_minor: int = 0


@hears
def remember(_self: object, data: Seen, event: Withdrawn) -> None:
    """As a rule of a saga."""
    data.withdrawn_minor += event.amount_minor


def paid_out(asked: TransferRequested, data: Seen) -> DepositForTransfer:
    """As much as was withdrawn."""
    made = deposit(asked)
    made.amount_minor = data.withdrawn_minor
    return made


def test_a_step_left_out_is_behind() -> None:
    """Its condition says no: nothing is sent or undone for it, and the next one begins."""
    story = started(undoable("one", when=lambda _asked: False), undoable("two"), DEPOSIT)
    assert story.words[1:] == ["left out 0", "issued 1f WithdrawForTransfer"]
    story.accepts()
    assert tails(story.refuses("no")) == ["1c"]
    assert tails(story.accepts()) == ["3e"]


def test_what_an_answer_says_is_remembered() -> None:
    """Later commands and conditions are made from the event that started the saga and from the data."""
    asked_of: list[int] = []

    def condition(_asked: TransferRequested, data: Seen) -> bool:
        asked_of.append(data.withdrawn_minor)
        return True

    rules: dict[str, object] = {"data": Seen, "remember": remember}
    story = started(WITHDRAW, Step("deposit", paid_out, compensation=reverse, when=condition), **rules)
    story.accepts_step("0f", Withdrawn(account="a", transfer="t", amount_minor=7))
    assert asked_of == [7]
    assert DepositForTransfer.FromString(story.issued().payload).amount_minor == 7


def test_what_could_not_be_heard_is_heard_again() -> None:
    """A rule that raises at an answer parks the saga; once it is mended, the same event is heard."""
    broken = [True]

    @hears
    def fragile(_self: object, data: Seen, event: Withdrawn) -> None:
        if broken[0]:
            raise ValueError("no idea")
        data.withdrawn_minor = event.amount_minor

    story = started(WITHDRAW, Step("deposit", paid_out), data=Seen, fragile=fragile)
    event = Withdrawn(account="a", transfer="t", amount_minor=7)
    assert story.accepts_step("0f", event) == ["accepted", "parked: rule_failed: ValueError: no idea"]
    with pytest.raises(NotPossible, match="no idea"):
        story.operates(RETRY)
    broken[0] = False
    assert story.operates(RETRY) == ["operated retry", "issued 1f DepositForTransfer"]
    assert DepositForTransfer.FromString(story.issued().payload).amount_minor == 7


# --- retries


def test_a_step_without_an_answer_is_asked_for_again_with_its_id() -> None:
    """After a pause, the same command; after the last time it is given up and compensated."""
    story = started(undoable("one", timeout_ms=60_000, retry=Retry(limit=2)), DEPOSIT)
    first = story.issued()
    for _ in range(2):
        assert story.times_out() == ["rests: step_timed_out"]
        assert tails(story.times_out()) == ["0f"]
        again = story.issued()
        assert (again.command_id, again.payload, again.destination) == (
            first.command_id,
            first.payload,
            first.destination,
        )
        assert again.no != first.no
    assert story.times_out() == ["timed out", "issued 0c ReverseWithdrawal"]
    assert story.issued().compensates == first.command_id


def test_an_answer_counts_also_while_the_step_rests() -> None:
    """It came late, and in time."""
    story = started(undoable("one", timeout_ms=60_000, retry=Retry(limit=2)), DEPOSIT)
    story.times_out()
    assert tails(story.accepts_step("0f")) == ["1f"]
    assert story.fold.next_timer() is None


def test_a_refusal_that_may_pass_is_asked_for_anew() -> None:
    """For the reasons that the step names: with another id, for the old one has its answer; else it is a refusal."""
    story = started(undoable("one", retry=Retry(limit=1, reasons=("busy",))), DEPOSIT)
    assert story.refuses_step("0f", "busy") == ["refused: busy", "rests: busy"]
    assert tails(story.times_out()) == ["0f1"]
    assert tails(story.refuses_step("0f1", "busy")) == ["2e"]
    other = started(undoable("one", retry=Retry(limit=1, reasons=("busy",))), DEPOSIT)
    assert tails(other.refuses_step("0f", "no")) == ["2e"]


def test_pauses_grow_and_differ() -> None:
    """Each about twice the one before, up to the limit; two sagas do not ask at the same moment."""
    retry = Retry(limit=6, first_ms=1_000, max_ms=8_000, reasons=("busy",))
    story = started(undoable("one", retry=retry), DEPOSIT)
    pauses_ms = []
    for attempt in range(6):
        story.refuses_step(f"0f{attempt or ''}", "busy")
        timer = story.fold.next_timer()
        assert timer is not None
        pauses_ms.append((timer[0] - story.fold.now_us) / 1_000)
        story.times_out()
    for pause_ms, middle_ms in zip(pauses_ms, (1_000, 2_000, 4_000, 8_000, 8_000, 8_000), strict=True):
        assert 0.5 * middle_ms <= pause_ms <= 1.5 * middle_ms
    assert len({pause_ms / 8_000 for pause_ms in pauses_ms[3:]}) == 3


def test_a_compensation_is_asked_for_again_before_it_has_failed() -> None:
    """With ids of its own; what can't change is not asked for again."""
    story = started(WITHDRAW, DEPOSIT)
    story.accepts()
    story.refuses("no")
    for tail in ("0c", "0c1", "0c2"):
        assert story.refuses_step(tail, "busy")[-1] == "rests: busy"
        story.times_out()
    assert story.refuses_step("0c3", "busy")[-1].startswith("ended compensation_failed")


# --- the pivot


def test_after_the_pivot_there_is_only_forward() -> None:
    """A refusal is asked for anew, and in the end parks the saga; nothing is undone."""
    story = started(WITHDRAW, Step("deposit", deposit, pivot=True), Step("notify", deposit, retry=Retry(limit=1)))
    story.accepts()
    story.accepts()
    assert story.refuses_step("2f", "away") == ["refused: away", "rests: away"]
    assert tails(story.times_out()) == ["2f1"]
    assert story.refuses_step("2f1", "away")[-1] == (
        "parked: step `notify` was refused 2 times, the last time with away"
    )
    assert tails(story.operates(RETRY)) == ["2f2"]
    assert tails(story.accepts_step("2f2")) == ["3e"]


def test_what_was_tried_is_confirmed_after_the_pivot() -> None:
    """Each `Tcc` is tried in its place, and confirmed once the saga can no longer fail."""
    tcc = Tcc("seat", withdraw, confirm=deposit, cancel=reverse)
    story = started(tcc, Step("pay", deposit, pivot=True), Step("notify", deposit))
    assert tails(story.accepts_step("0f")) == ["1f"]
    assert tails(story.accepts_step("1f")) == ["2f"]
    assert tails(story.accepts_step("2f")) == ["3f"]
    assert [step.name for step in story.definitions.by_trigger["bank.v1.TransferRequested"][0].plan] == [
        "seat",
        "pay",
        "seat.confirm",
        "notify",
    ]


def test_what_was_tried_is_cancelled_when_another_is_refused() -> None:
    """A refused try cancels the ones that were accepted."""
    story = started(Parallel(*(Tcc(name, withdraw, confirm=deposit, cancel=reverse) for name in ("a", "b"))))
    story.accepts_step("0f")
    assert tails(story.refuses_step("1f", "full")) == ["0c"]
    assert tails(story.accepts_step("0c")) == ["4e"]


def test_what_was_not_tried_is_not_confirmed() -> None:
    """The condition is asked once, before the try, whatever the data have become since."""
    left_out = Tcc("seat", withdraw, confirm=deposit, cancel=reverse, when=lambda _asked: False)
    story = started(left_out, Step("pay", deposit, pivot=True))
    assert story.accepts_step("1f") == ["accepted", "left out 2", "issued 3e CompleteTransfer"]


def test_commands_that_are_too_large_together_park_their_saga() -> None:
    """A record of the journal must hold what one answer leads to."""

    def large(asked: TransferRequested) -> FailTransfer:
        return FailTransfer(transfer=asked.transfer, reason="x" * 700_000)

    story = started(Parallel(*(Step(name, large, compensation=reverse) for name in ("one", "two", "three"))))
    assert story.words[-1] == "parked: its commands together are too large for one record"
    assert story.operates(RETRY)[-1].startswith("issued 2f")


def test_data_are_bounded() -> None:
    """A rule that remembers more than a record should hold parks the saga."""

    class Much(State):
        text: str = ""

    @hears
    def gather(_self: object, data: Much, event: Withdrawn) -> None:
        data.text = "x" * 300_000

    story = started(WITHDRAW, DEPOSIT, data=Much, gather=gather)
    found = story.accepts_step("0f", Withdrawn(account="a", transfer="t", amount_minor=7))
    assert found[-1].startswith("parked: rule_failed: its data takes 300")


# --- events


def by_transfer(event: TransferCompleted | TransferFailed) -> str:
    """The key of the saga that it is for."""
    return event.transfer


WAITS = Step(
    "other",
    withdraw,
    compensation=reverse,
    success={TransferCompleted: by_transfer},
    refusal={TransferFailed: by_transfer},
)


def test_a_step_may_be_carried_out_by_an_event() -> None:
    """Acceptance is not yet success: what comes next waits for the event, which names the saga."""
    story = started(WAITS, DEPOSIT)
    assert story.accepts_step("0f") == ["accepted"]
    assert tails(story.hears(TransferCompleted(transfer="t"))) == ["1f"]
    assert story.hears(TransferCompleted(transfer="t")) == []


def test_a_step_may_be_refused_by_an_event() -> None:
    """Later, or in the very answer."""
    later = started(WITHDRAW, WAITS, DEPOSIT)
    later.accepts_step("0f")
    later.accepts_step("1f")
    assert later.hears(TransferFailed(transfer="t"))[0] == "heard TransferFailed"
    at_once = started(WITHDRAW, WAITS, DEPOSIT)
    at_once.accepts_step("0f")
    assert at_once.accepts_step("1f", TransferFailed(transfer="t"))[0] == "refused: TransferFailed"
    for story in (later, at_once):
        assert story.waiting("0c")


def test_an_event_that_matches_no_saga_is_nobodys() -> None:
    """Another key, or a step that does not wait."""
    story = started(WAITS, DEPOSIT)
    assert story.hears(TransferCompleted(transfer="other")) == []
