"""What sagas do next, as story → signal → records."""

import pytest

from bank.transfer import deposit, reverse, withdraw
from bank.v1.commands_pb2 import FailTransfer, ReverseWithdrawal
from bank.v1.events_pb2 import TransferRequested
from bank.v1.queries_pb2 import GetTransfer
from bennu.domain import Step
from bennu.limits import MAX_COMMAND_ID_BYTES
from bennu.wire.reasons import NOTHING_TO_COMPENSATE
from bennu_saga.state import RETRY, SKIP
from tests.saga.story import ASKED, DEPOSIT, LATER_US, WITHDRAW, Story, impatient, raises, raises_instead, saga


def started(*sagas: type) -> Story:
    """A transfer whose withdrawal is awaited."""
    story = Story(*sagas)
    story.starts()
    return story


def compensating(*sagas: type) -> Story:
    """A transfer whose deposit was refused and whose reversal is awaited."""
    story = started(*sagas)
    story.accepts()
    story.refuses("account_frozen")
    return story


def test_an_event_starts_a_saga() -> None:
    """A starting event is recorded with the first step's command, which times out when its step says."""
    story = Story()
    assert story.starts() == ["started TransferSaga:t", "issued 0f WithdrawForTransfer"]
    assert story.issued().due_at_us == LATER_US
    assert story.issued().causation_id == "asked"


def test_an_accepted_step_leads_to_the_next() -> None:
    """After each accepted step comes the next, then the initiator hears of it, then the saga has ended."""
    story = started()
    assert story.accepts() == ["accepted", "issued 1f DepositForTransfer"]
    assert story.accepts() == ["accepted", "issued 2e CompleteTransfer"]
    assert story.accepts() == ["accepted", "ended completed"]
    assert story.fold.sagas == {}


def test_a_refused_first_step_leaves_nothing_to_undo() -> None:
    """The initiator hears at once, by the name of the broken rule."""
    story = started()
    assert story.refuses("insufficient_funds") == ["refused: insufficient_funds", "issued 2e FailTransfer"]
    assert FailTransfer.FromString(story.issued().payload).reason == "insufficient_funds"
    assert story.accepts() == ["accepted", "ended compensated: insufficient_funds"]


def test_a_refused_later_step_undoes_the_ones_before() -> None:
    """What was carried out is compensated, then the initiator hears why."""
    story = started()
    story.accepts()
    assert story.refuses("account_frozen") == ["refused: account_frozen", "issued 0c ReverseWithdrawal"]
    assert story.accepts() == ["accepted", "issued 2e FailTransfer"]
    assert story.accepts() == ["accepted", "ended compensated: account_frozen"]


def test_compensations_come_in_reverse_order() -> None:
    """The step carried out last is undone first, each of them once."""
    steps = [Step(name, withdraw, compensation=reverse) for name in ("one", "two", "three")]
    story = started(saga(*steps))
    story.accepts()
    story.accepts()
    issued = story.refuses("no")[1:] + story.accepts()[1:] + story.accepts()[1:]
    assert issued == ["issued 1c ReverseWithdrawal", "issued 0c ReverseWithdrawal", "issued 3e FailTransfer"]


def test_a_step_without_an_answer_is_given_up() -> None:
    """Its compensation names it, so that it has no effect if the step had none either."""
    story = started()
    forward = story.issued().command_id
    assert story.times_out() == ["timed out", "issued 0c ReverseWithdrawal"]
    assert story.issued().compensates == forward
    assert story.noted == ["step_timed_out"]
    assert story.accepts() == ["accepted", "issued 2e FailTransfer"]
    assert story.accepts() == ["accepted", "ended compensated: step_timed_out"]


def test_an_empty_compensation_is_one() -> None:
    """Nothing to compensate is as good as compensated."""
    story = started()
    story.times_out()
    assert story.refuses(NOTHING_TO_COMPENSATE) == ["refused: nothing_to_compensate", "issued 2e FailTransfer"]


def test_a_compensation_of_what_nobody_remembers_fails_visibly() -> None:
    """Whether the step was carried out is not known: the saga stands, and does not claim that all is undone."""
    story = started()
    story.times_out()
    assert story.refuses("outcome_forgotten")[-1].startswith("ended compensation_failed: ")


def test_a_compensation_that_is_never_answered_is_for_an_operator() -> None:
    """A participant that lost it drops the repeats: it is asked for on and on, until an operator skips it."""
    story = compensating(saga(WITHDRAW, DEPOSIT))
    for _ in range(3):
        assert story.times_out() == ["rests: step_timed_out"]
        assert story.times_out() == ["issued 0c ReverseWithdrawal"]
    assert story.operates(SKIP, "withdraw") == ["operated skip", "issued 2e FailTransfer"]
    assert story.accepts()[-1] == "ended compensated: account_frozen"


def test_a_late_answer_changes_nothing() -> None:
    """The answer of a step that was given up is nobody's any more."""
    story = started()
    forward = story.awaited
    story.times_out()
    assert story.accepts(forward) == []
    assert story.refuses("no", forward) == []


def test_a_second_answer_changes_nothing() -> None:
    """An answer counts once."""
    story = started()
    forward = story.awaited
    story.accepts()
    assert story.accepts(forward) == []


def test_a_refused_compensation_stays_visible() -> None:
    """The saga stands in compensation_failed with both reasons, is noted, and its initiator is told no untruth."""
    story = compensating(saga(impatient(WITHDRAW), DEPOSIT))
    assert story.refuses("account_unknown") == [
        "refused: account_unknown",
        "ended compensation_failed: account_frozen; compensation of step 0: account_unknown",
    ]
    assert story.noted == ["compensation_failed"]
    assert list(story.fold.sagas) == ["Told:t"]
    assert story.fold.running == 0


@pytest.mark.parametrize(
    ("broken", "answers"),
    [
        (saga(Step("withdraw", raises, compensation=reverse), DEPOSIT), ()),
        (saga(WITHDRAW, Step("deposit", raises)), ("yes",)),
        (saga(Step("withdraw", withdraw, compensation=raises), DEPOSIT), ("yes", "no")),
        (saga(DEPOSIT, completed=raises), ("yes",)),
        (saga(Step("deposit", deposit, when=raises_instead, compensation=reverse)), ()),
    ],
    ids=["first step", "next step", "compensation", "closing", "condition"],
)
def test_a_rule_that_raises_parks_its_saga(broken: type, answers: tuple[str, ...]) -> None:
    """It stands where it is, with what was raised, nothing is sent or undone, and an operator hears of it."""
    story = started(broken)
    for answer in answers:
        story.accepts() if answer == "yes" else story.refuses("no")
    assert story.words[-1] == "parked: rule_failed: ValueError: no idea"
    assert story.noted == ["parked"]
    assert story.fold.awaiting == {}
    assert len(story.fold.sagas) == 1


def test_what_is_no_command_is_not_sent() -> None:
    """A step that makes nothing, or what the app does not take as a command, parks the saga."""
    nothing = started(saga(Step("none", lambda _asked: None)))  # type: ignore[arg-type,return-value]  # that is the mistake
    assert nothing.words[1] == "parked: rule_failed: step `none` makes no command"
    query = started(saga(Step("query", lambda asked: GetTransfer(transfer=asked.transfer))))
    assert query.words[1] == "parked: rule_failed: GetTransfer is no command of app `bank`"


def test_an_error_that_has_no_text_is_told_all_the_same() -> None:
    """Whatever a domain raises, the record of it can be written."""

    def unprintable(_asked: TransferRequested) -> ReverseWithdrawal:
        raise ValueError("\ud800")

    story = started(saga(Step("one", unprintable)))
    assert story.records[1].SerializeToString()
    assert story.words[1] == "parked: rule_failed: ValueError: \\ud800"


def test_a_second_start_is_passed_over() -> None:
    """While a saga is under way, an event that gives the same key starts nothing, and is noted."""
    story = started()
    assert story.starts() == []
    assert story.noted == ["started_while_under_way"]


def test_a_key_may_come_again() -> None:
    """After its end a saga of the same key is another one, whose commands have ids of their own."""
    story = started()
    first = story.issued().command_id
    story.refuses("no")
    story.accepts()
    assert story.starts()[0] == "started TransferSaga:t"
    assert story.issued().command_id != first


def test_a_saga_without_a_key_is_parked_at_once() -> None:
    """Its id is the event's place; once an operator says so it goes on under that."""
    story = Story()
    assert story.starts(failure="rule_failed: key") == ["started TransferSaga:?0-1", "parked: rule_failed: key"]
    assert story.operates(RETRY) == ["operated retry", "issued 0f WithdrawForTransfer"]


def test_an_initiator_may_refuse_to_hear() -> None:
    """The saga has ended all the same, and the refusal is noted."""
    story = started(saga(DEPOSIT))
    story.accepts()
    assert story.refuses("transfer_not_running") == ["refused: transfer_not_running", "ended completed"]
    assert story.noted == ["closing_refused"]


def test_nobody_need_be_told() -> None:
    """A saga without closing commands ends with its last answer."""
    silent = saga(DEPOSIT, completed=lambda _self, _asked: None, failed=lambda _self, _asked, _reason: None)
    assert started(silent).accepts() == ["accepted", "ended completed"]
    assert started(silent).refuses("no") == ["refused: no", "ended compensated: no"]


def test_a_step_given_up_is_undone_in_the_same_log_only() -> None:
    """A compensation with another key could overtake its step, so it is not sent."""

    def elsewhere(asked: TransferRequested) -> ReverseWithdrawal:
        return ReverseWithdrawal(account=f"not-{asked.source}", transfer=asked.transfer)

    story = Story(saga(Step("withdraw", withdraw, compensation=elsewhere, timeout_ms=60_000)), partitions=64)
    story.starts()
    assert "must have the key of its command" in story.times_out()[-1]


def test_ids_follow_from_saga_and_step() -> None:
    """Whoever computes it gets the same id, of a legal length however long the key."""
    long = TransferRequested(transfer="x" * 64, source="a", target="b", amount_minor=1, currency="EUR")
    ids = []
    for _ in range(2):
        story = Story()
        story.starts(long)
        ids.append(story.issued().command_id)
    assert ids[0] == ids[1]
    assert len(ids[0].encode()) <= MAX_COMMAND_ID_BYTES
    other = Story()
    other.starts(ASKED)
    assert other.issued().command_id == "saga:TransferSaga:t:0-1:0f"


def test_numbers_go_on_per_log() -> None:
    """Each command log gets its own numbers, from 1 on, without a gap."""
    story = Story(partitions=2)
    for number in range(20):
        story.starts(TransferRequested(transfer=f"t{number}", source=f"a{number}", target="b", amount_minor=1))
    for destination, box in story.fold.outbox.boxes.items():
        numbers = [command.no for command in box.unconfirmed]
        assert numbers == list(range(1, box.last_no + 1)), destination
    assert len(story.fold.outbox.boxes) == 2


def test_of_several_versions_the_newest_starts() -> None:
    """A saga begins with the newest version of its definition, and an older one ends what began with it."""
    old, new = saga(DEPOSIT), saga(WITHDRAW, Step("deposit", deposit), version=2)
    for order in ((old, new), (new, old)):
        story = started(*order)
        assert [saga.version for saga in story.fold.sagas.values()] == [2]
        assert story.noted == []
        assert story.definitions.get("Told", 1) is not None
