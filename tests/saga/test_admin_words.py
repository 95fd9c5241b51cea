"""A saga in a sentence: what it waits for, since when, and what happens next."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bank.transfer import deposit, withdraw
from bank.v1.events_pb2 import TransferCompleted, TransferFailed
from bennu.domain import Parallel, Retry, Step
from bennu.v1.saga_pb2 import SagaOperation
from bennu_saga.admin_words import explain, in_words
from bennu_saga.state import COMPENSATE, RESOLVE, SKIP
from tests.saga.story import DEPOSIT, NOW_US, WITHDRAW, Story, impatient, raises_instead, started, undoable

BLOCKED = Retry(limit=2, reasons=("busy",))


def sentence(story: Story, now_us: int = NOW_US) -> str:
    """About its one saga."""
    ((saga_id, saga),) = story.fold.sagas.items()
    return explain(saga_id, saga, story.definitions.get(saga.definition, saga.version), now_us=now_us)


def waits() -> Story:
    """For an answer, with no time limit."""
    story = started(WITHDRAW, DEPOSIT)
    story.accepts()
    return story


def asked_again() -> Story:
    """After one that was not answered in time."""
    story = started(undoable("withdraw", timeout_ms=60_000, retry=Retry(limit=2)))
    story.times_out()
    story.times_out()
    return story


def rests() -> Story:
    """Refused for a reason that may pass."""
    story = started(undoable("withdraw", timeout_ms=60_000, retry=BLOCKED))
    story.refuses("busy")
    return story


def last_step(*, refused: bool) -> Story:
    """After the pivot, with one retry."""
    story = started(WITHDRAW, Step("deposit", deposit, pivot=True), Step("notify", deposit, retry=Retry(limit=1)))
    story.accepts()
    story.accepts()
    if refused:
        story.refuses("busy")
    return story


def by_event() -> Story:
    """Carried out by an event that comes later."""
    events = {TransferCompleted: lambda event: event.transfer}, {TransferFailed: lambda event: event.transfer}
    return started(undoable("withdraw", success=events[0], refusal=events[1]), DEPOSIT)


def group() -> Story:
    """Two at once."""
    return started(Parallel(undoable("one", timeout_ms=60_000), undoable("two")), DEPOSIT)


def refused_in_group() -> Story:
    """One of two is refused, and the other is waited for."""
    story = group()
    story.refuses_step("0f", "no")
    return story


def undone(step: Step = WITHDRAW) -> Story:
    """Its compensation is asked for, and then another one's."""
    story = started(step, undoable("reserve"), DEPOSIT)
    story.accepts()
    story.accepts()
    story.refuses("no")
    return story


def undone_in_time() -> Story:
    """The compensation is asked for again until it is answered."""
    story = undone()
    story.accepts()
    return story


def undoing_refused() -> Story:
    """And asked for again."""
    story = undone_in_time()
    story.refuses("busy")
    return story


def undoing_unanswered() -> Story:
    """And asked for again."""
    story = undone_in_time()
    assert story.times_out() == ["rests: step_timed_out"]
    return story


def half_undone() -> Story:
    """The compensation is refused for the last time."""
    story = started(WITHDRAW, impatient(undoable("reserve")), DEPOSIT)
    story.accepts()
    story.accepts()
    story.refuses("no")
    story.refuses("closed")
    return story


def parked() -> Story:
    """A rule raises."""
    story = started(Parallel(WITHDRAW, (undoable("check"), undoable("deposit", when=raises_instead))))
    story.accepts_step("1f")
    return story


def completed() -> Story:
    """All is carried out, and the initiator is told."""
    story = started(WITHDRAW)
    story.accepts()
    return story


def compensated() -> Story:
    """All is undone, and the initiator is told."""
    story = started(WITHDRAW)
    story.refuses("insufficient_funds")
    return story


PHASES: dict[str, Callable[[], Story]] = {
    "asked for": lambda: started(WITHDRAW, DEPOSIT),
    "asked for, without a time limit": waits,
    "asked for again": asked_again,
    "refused for a reason that may pass": rests,
    "after the pivot": lambda: last_step(refused=False),
    "refused after the pivot": lambda: last_step(refused=True),
    "an event": by_event,
    "a group": group,
    "a refusal in a group": refused_in_group,
    "undone": undone,
    "undone, with a time limit": undone_in_time,
    "a compensation that was refused": undoing_refused,
    "a compensation that was not answered": undoing_unanswered,
    "half undone": half_undone,
    "parked": parked,
    "completed": completed,
    "compensated": compensated,
}
SENTENCES = dict(line.split(": ", 1) for line in Path(__file__).with_name("sentences.txt").read_text().splitlines())


@pytest.mark.parametrize("phase", PHASES)
def test_each_phase_is_told_in_a_sentence(phase: str) -> None:
    """What it waits for, since when, how often it asked, and what happens next: word by word, as people read it."""
    assert sentence(PHASES[phase]()) == SENTENCES[phase]


def test_a_time_of_another_day_has_its_date() -> None:
    """A time alone would be taken for today's."""
    tomorrow = int(datetime(1970, 1, 2, tzinfo=UTC).timestamp()) * 1_000_000
    assert "waits since 1970-01-01 00:00:01 UTC for" in sentence(waits(), now_us=tomorrow)


def test_a_saga_that_this_build_does_not_declare_is_told_so() -> None:
    """One in compensation_failed does not keep a build from leading that lacks its definition."""
    story = half_undone()
    ((saga_id, saga),) = story.fold.sagas.items()
    said = explain(saga_id, saga, None, now_us=NOW_US)
    assert said.endswith("compensation of step 1: closed; this build does not declare Told, version 1.")


DECISIONS = {
    COMPENSATE: "asks bank for the compensation of step `withdraw` by bank.v1.ReverseWithdrawal",
    RESOLVE: "ends as resolved",
}


@pytest.mark.parametrize("operation", DECISIONS)
def test_what_a_decision_does_is_told_by_its_records(operation: SagaOperation.ValueType) -> None:
    """Each command, and the end."""
    story = started(WITHDRAW, DEPOSIT)
    before = len(story.records)
    story.operates(operation)
    assert in_words(story.records[before:], story.plan) == DECISIONS[operation]


def test_a_skip_is_told_by_what_it_lets_begin() -> None:
    """The next step's command; or nothing, where another one is waited for."""
    story = started(Parallel(undoable("one"), undoable("two")), Step("last", withdraw))
    story.operates(SKIP, "one")
    assert in_words(story.records[-1:], story.plan) == "sends nothing: it goes on waiting"
    before = len(story.records)
    story.operates(SKIP, "two")
    assert in_words(story.records[before:], story.plan) == "asks bank for step `last` by bank.v1.WithdrawForTransfer"
