"""A saga's declaration as a graph, and the mistakes that are named when an app is loaded."""

from typing import Any

import pytest

from bank.transfer import deposit, reverse, withdraw
from bank.v1.events_pb2 import TransferCompleted
from bennu.domain import NOTHING, Parallel, Retry, Saga, Step, Tcc
from bennu.domain.plan import AFTER_PIVOT, plan_of
from bennu.errors import BadSettings

DEPOSIT = Step("deposit", deposit)
UNDOABLE = Step("undoable", withdraw, compensation=reverse)
SEAT = Tcc("seat", withdraw, confirm=deposit, cancel=reverse)


def saga(*steps: Any) -> type[Saga[Any]]:  # noqa: ANN401 - parts of a saga, or what is none
    """A declaration called `Told`."""
    return type("Told", (Saga,), {"steps": steps, "__qualname__": "Told"})


def undoable(name: str, **rules: Any) -> Step:  # noqa: ANN401 - fields of a Step
    """A step with a compensation."""
    return Step(name, withdraw, compensation=reverse, **rules)


BAD: dict[str, tuple[tuple[Any, ...], str]] = {
    "no steps": ((), "at least one step"),
    "no step": (("withdraw",), "'withdraw' is no Step"),
    "an empty group": ((Parallel(), DEPOSIT), "needs at least one branch"),
    "one name twice": ((UNDOABLE, UNDOABLE, DEPOSIT), "step names must differ"),
    "a name that confirming has": ((SEAT, undoable("seat.confirm")), "step names must differ"),
    "no compensation": ((DEPOSIT, UNDOABLE), "step `deposit` has no compensation, but step `undoable` may be refused"),
    "none in a group": (
        (Parallel(DEPOSIT, UNDOABLE),),
        "step `deposit` has no compensation, but step `undoable` may be refused",
    ),
    "two without": ((Parallel(DEPOSIT, Step("two", deposit)),), "step `deposit` has no compensation"),
    "a pivot in a group": (
        (Parallel(Step("one", deposit, pivot=True), UNDOABLE),),
        "step `one`: a pivot stands by its",
    ),
    "two pivots": ((Step("one", deposit, pivot=True), Step("two", deposit, pivot=True)), "step `two`: there is one pi"),
    "a pivot left out": (
        (UNDOABLE, Step("one", deposit, pivot=True, when=bool)),
        "step `one`: the pivot can't be left",
    ),
    "undone after the pivot": (
        (Step("one", deposit, pivot=True), UNDOABLE),
        "step `undoable`: after the pivot there is",
    ),
    "tried after the pivot": (
        (Step("one", deposit, pivot=True), SEAT),
        "step `seat`: after the pivot there is only for",
    ),
    "a time without a way back": ((Step("one", deposit, timeout_ms=1),), "step `one`: it may time out"),
    "a retry that never comes": ((undoable("one", retry=Retry(limit=1)), DEPOSIT), "step `one`: it is never asked for"),
    "a retry without pause": (
        (undoable("one", timeout_ms=1, retry=Retry(first_ms=0)), DEPOSIT),
        "step `one`: a Retry has",
    ),
    "two that one event decides": (
        (undoable("one", success={TransferCompleted: str}), undoable("two", refusal={TransferCompleted: str}), DEPOSIT),
        "bank.v1.TransferCompleted decides step `one` and step `two`",
    ),
    "refused after the pivot": (
        (Step("one", deposit, pivot=True), Step("two", deposit, refusal={TransferCompleted: str})),
        "step `two`: after the pivot there is only forward, so no event",
    ),
    "a time that is negative": ((undoable("one", timeout_ms=-1), DEPOSIT), "step `one`: timeout_ms is negative"),
    "an undo without pause": ((undoable("one", undo_retry=Retry(first_ms=0)), DEPOSIT), "step `one`: a Retry has"),
    "both at once": (
        (undoable("one", success={TransferCompleted: str}, refusal={TransferCompleted: str}), DEPOSIT),
        "bank.v1.TransferCompleted decides step `one` and step `one`",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_declaration_that_can_not_work_is_refused(case: str) -> None:
    """The message names the saga, the step, and what is wrong with it."""
    steps, message = BAD[case]
    with pytest.raises(BadSettings, match=f"Told.*{message}"):
        plan_of(saga(*steps))


def test_a_sequence_is_a_chain() -> None:
    """Each step comes after the one before."""
    plan = plan_of(saga(undoable("one"), undoable("two"), DEPOSIT))
    assert [step.after for step in plan] == [(), (0,), (1,)]


def test_a_group_fans_out_and_in() -> None:
    """Its branches come after what is before it, and what follows comes after all of their ends."""
    plan = plan_of(saga(undoable("one"), Parallel((undoable("two"), undoable("three")), undoable("four")), DEPOSIT))
    assert [(step.name, step.after) for step in plan] == [
        ("one", ()),
        ("two", (0,)),
        ("three", (1,)),
        ("four", (0,)),
        ("deposit", (2, 3)),
    ]


def test_a_last_step_without_compensation_is_the_pivot() -> None:
    """Nothing that comes after it can fail, for nothing does."""
    plan = plan_of(saga(UNDOABLE, DEPOSIT))
    assert [step.pivot for step in plan] == [False, True]
    assert [step.forward_only for step in plan] == [False, False]


def test_a_step_that_changes_nothing_may_stand_anywhere() -> None:
    """`NOTHING` says so, which is not the same as forgetting."""
    plan = plan_of(saga(Step("check", withdraw, compensation=NOTHING), UNDOABLE))
    assert [step.compensation is None for step in plan] == [True, False]
    assert not plan[0].pivot


def test_what_comes_after_the_pivot_is_asked_for_again() -> None:
    """Even if it does not say how often."""
    plan = plan_of(
        saga(Step("pay", deposit, pivot=True), Step("one", deposit), Step("two", deposit, retry=Retry(limit=3)))
    )
    assert [step.forward_only for step in plan] == [False, True, True]
    assert [step.retry for step in plan[1:]] == [AFTER_PIVOT, Retry(limit=3)]


def test_confirming_comes_after_everything_without_a_pivot() -> None:
    """All at the same time."""
    other = Tcc("car", withdraw, confirm=deposit, cancel=reverse)
    plan = plan_of(saga(SEAT, other))
    assert [(step.name, step.after, step.forward_only) for step in plan] == [
        ("seat", (), False),
        ("car", (0,), False),
        ("seat.confirm", (1,), True),
        ("car.confirm", (1,), True),
    ]


def test_a_rule_takes_the_event_or_the_data_too() -> None:
    """As many as it declares; one with defaults of its own is given the event alone."""

    def of_both(asked: str, data: str) -> Any:  # noqa: ANN401 - not made for real
        return asked, data

    def with_default(asked: str, more: str = "own") -> Any:  # noqa: ANN401 - as above
        return asked, more

    plan = plan_of(saga(Step("one", of_both, compensation=with_default), Step("two", with_default)))
    assert plan[0].command("event", "data") == ("event", "data")
    assert plan[0].compensation is not None
    assert plan[0].compensation("event", "data") == ("event", "own")
