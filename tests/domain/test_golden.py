"""Golden histories: written once, and failing as soon as the code makes something else of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bank.v1.commands_pb2 import Deposit
from bank.v1.events_pb2 import Deposited
from bennu.domain import Aggregate, App, Rejection, State, decides, evolves
from bennu.errors import BadSettings
from bennu.testing import golden
from tests.builds import app_new, app_old
from tests.builds.messages import BOXES, Fill, Filled1
from tests.replica.deciding import Leader
from tests.replica.test_replay import nothing_called


class MendedRules(app_old.BoxRules):
    """The old build's, with another opinion of what was."""

    @evolves
    def filled(self, state: app_old.Box, event: Filled1) -> None:
        state.content += event.amount + 1


MendedRules.__qualname__ = app_old.BoxRules.__qualname__  # the kind of aggregate is the same one


class Ordered(State):
    """The order of names is part of the state."""

    names: list[str] = []  # noqa: RUF012 - msgspec copies it for each state


class OrderedRules(Aggregate[Ordered]):
    """Evolves in the order of a set."""

    @decides
    def add(self, state: Ordered, command: Deposit) -> Deposited | Rejection:
        return Deposited(account=command.account) if command.amount_minor else Rejection("nothing", "no amount")

    @evolves
    def added(self, state: Ordered, event: Deposited) -> None:
        state.names = list({*state.names, *(f"{event.account}-{n}" for n in range(20))})


ORDERED = App("ordered", service=nothing_called(), aggregates=(OrderedRules,))


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Of the old build: two boxes."""
    leader = Leader(app_old.app)
    leader.decide(Fill(box="a", amount=3), Fill(box="b", amount=1))
    leader.decide(Fill(box="a", amount=4))
    path = tmp_path / "filled.golden.json"
    golden.write(app_old.app, leader.topic, leader.records, path=path)
    return path


def failure(app: App, path: Path) -> str:
    """What its test is told."""
    with pytest.raises(AssertionError) as raised:
        golden.check(app, path)
    return str(raised.value)


def test_the_code_that_wrote_it_passes(history: Path) -> None:
    """Found below its folder, and equal in all."""
    assert golden.histories(history.parent) == [history]
    golden.check(app_old.app, history)


def test_a_field_that_was_added_is_not_compared(history: Path) -> None:
    """The newer build upcasts the events, and has a field more."""
    golden.check(app_new.app, history)


def test_a_rule_that_evolves_otherwise_is_named_at_its_batch(history: Path) -> None:
    """By the digests of state in the journal."""
    app = App("builds", service=BOXES, aggregates=(MendedRules,))
    said = failure(app, history)
    assert said.startswith("filled.golden.json: today's `builds` can't replay it: builds-events-0, offset 1: batch 1 ")


Change = Callable[[dict[str, Any]], object]

CHANGES: dict[str, tuple[Change, str]] = {
    "a field": (
        lambda was: was["states"]["BoxRules"]["a"].update(content=8),
        "state of BoxRules a: content was 8, is 7",
    ),
    "a field of another name": (
        lambda was: was["states"]["BoxRules"]["a"].update(grams=7),
        "state of BoxRules a: grams was 7, is 'no more'",
    ),
    "an aggregate that is no more": (
        lambda was: was["states"]["BoxRules"].update(c={"content": 1}),
        "state of BoxRules c: there is none any more",
    ),
    "an aggregate that was not": (
        lambda was: was["states"]["BoxRules"].pop("b"),
        "state of BoxRules b: there was none",
    ),
    "a reply": (
        lambda was: was["replies"]["2-0"]["message"].update(content="9"),
        "reply to 2-0: content was '9', is '7'",
    ),
    "an outcome": (
        lambda was: was["replies"]["1-0"].update(outcome=2),
        "reply to 1-0: outcome was 2, is 1",
    ),
    "a reply that is no more": (
        lambda was: was["replies"].update(more=was["replies"]["1-0"]),
        "reply to more: there is none any more",
    ),
}


@pytest.mark.parametrize(("change", "said"), CHANGES.values(), ids=CHANGES)
def test_what_differs_is_named(history: Path, change: Change, said: str) -> None:
    """States by kind, key and field; replies by command id."""
    content = json.loads(history.read_text())
    change(content)
    history.write_text(json.dumps(content))
    assert failure(app_old.app, history) == (
        f"filled.golden.json: today's `builds` makes something else of it, 1 times\n  {said}"
    )


def test_a_build_that_lacks_a_type_is_told(tmp_path: Path) -> None:
    """Its journal can't be replayed."""
    leader, path = Leader(app_new.app), tmp_path / "new.golden.json"
    leader.decide(Fill(box="a", amount=3))
    golden.write(app_new.app, leader.topic, leader.records, path=path)
    assert "offset 1: event type builds.v1.Filled3 is not known to app `builds`" in failure(app_old.app, path)


def test_the_history_of_another_app_is_refused(history: Path) -> None:
    """Before anything is replayed."""
    assert failure(ORDERED, history) == "filled.golden.json is a history of app `builds`, not of `ordered`"


def test_a_rule_that_follows_the_order_of_a_set_is_caught(tmp_path: Path) -> None:
    """In a process that hashes texts otherwise, the same history leads to another state."""
    leader = Leader(ORDERED)
    leader.decide(Deposit(account="a", amount_minor=1), Deposit(account="a"))
    golden.write(ORDERED, leader.topic, leader.records, path=tmp_path / "ordered.golden.json")
    golden.check(ORDERED, tmp_path / "ordered.golden.json")
    with pytest.raises(
        AssertionError, match=r"with PYTHONHASHSEED=\d: ordered.golden.json: .*; it touched OrderedRules a"
    ):
        golden.check_under_hash_seeds("tests.domain.test_golden:ORDERED", tmp_path, seeds=(1, 2))


def test_a_history_is_for_ever(history: Path) -> None:
    """It is not written over; its name says what it is; and it is of some records, not of none and not of all."""
    leader = Leader(app_old.app)
    with pytest.raises(BadSettings, match=r"filled\.golden\.json is there already"):
        golden.write(app_old.app, leader.topic, leader.records, path=history)
    with pytest.raises(BadSettings, match=r"name ends in \.golden\.json"):
        golden.write(app_old.app, leader.topic, leader.records, path=history.with_name("other.json"))
    for records in ([], leader.records * (golden.MAX_RECORDS + 1)):
        with pytest.raises(BadSettings, match="a golden history has 1 to 10000"):
            golden.write(app_old.app, leader.topic, records, path=history.with_name("other.golden.json"))


def test_a_folder_without_histories_is_no_success(tmp_path: Path) -> None:
    """A test that finds nothing to check fails."""
    with pytest.raises(AssertionError, match="holds no golden history"):
        golden.histories(tmp_path)
