"""States of older versions are upcast; of newer, unknown or silently changed ones a snapshot is passed over."""

from typing import Any, ClassVar

import pytest

from bank.v1.commands_pb2 import Deposit
from bank.v1.events_pb2 import Deposited
from bennu.domain import Aggregate, App, State, decides, evolves, upcasts
from bennu.replica.fold import AggregateFold
from bennu.replica.slices import Unfit
from bennu.replica.state import ReplicaState
from tests.replica.test_replay import nothing_called


class PurseV1(State):
    """As it was."""

    euros: int = 0


class Purse(State):
    """As it is."""

    state_version: ClassVar[int] = 2
    cents: int = 0


class Changed(State):
    """As it was, but somebody has added a field and no version."""

    euros: int = 0
    currency: str = "EUR"


class Newer(State):
    """As it will be."""

    state_version: ClassVar[int] = 3
    cents: int = 0


@upcasts
def purse(old: PurseV1) -> Purse:
    if old.euros < 0:
        raise ArithmeticError("no such purse")
    return Purse(cents=100 * old.euros)


def fold_of(state: type[State], *, name: str = "PurseRules", upcasters: tuple[Any, ...] = ()) -> AggregateFold:
    """One whose aggregates have this state."""

    class PurseRules(Aggregate[state]):  # type: ignore[valid-type]  # one for each version
        @decides
        def add(self, state: State, command: Deposit) -> Deposited:
            raise NotImplementedError

        @evolves
        def added(self, state: State, event: Deposited) -> None:
            raise NotImplementedError

    PurseRules.__qualname__ = name
    return AggregateFold(App("purses", service=nothing_called(), aggregates=(PurseRules,), state_upcasters=upcasters))


def loaded(old: AggregateFold, into: AggregateFold) -> dict[str, State]:
    """What `into` holds after a snapshot of `old`."""
    load = ReplicaState(into, partition=0, partitions=1).load(old.forms)
    for piece in ReplicaState(old, partition=0, partitions=1).dump():
        load(piece)
    return into.states[0]


def old_purses(*euros: int) -> AggregateFold:
    """Of the first version, by number."""
    found = fold_of(PurseV1)
    found.states[0].update((str(number), PurseV1(euros=each)) for number, each in enumerate(euros))
    return found


def test_an_older_state_is_upcast() -> None:
    """Each of them, when it is loaded."""
    found = loaded(old_purses(1, 2), fold_of(Purse, upcasters=(purse,)))
    assert found == {"0": Purse(cents=100), "1": Purse(cents=200)}


@pytest.mark.parametrize(
    ("into", "said"),
    [
        (fold_of(Purse), "is of version 1, and no upcaster leads on to 2"),
        (fold_of(Changed), "the fields of PurseRules's state have changed, and its state_version has not"),
        (fold_of(PurseV1, name="OtherRules"), "it holds states of PurseRules, which this app does not have"),
    ],
)
def test_a_state_that_nothing_leads_from_is_passed_over(into: AggregateFold, said: str) -> None:
    """Never read as something that it is not."""
    with pytest.raises(Unfit, match=said):
        loaded(old_purses(1), into)


def test_a_newer_state_is_passed_over() -> None:
    """A node of an older build leaves what a newer one has stored."""
    with pytest.raises(Unfit, match="is of version 3"):
        loaded(fold_of(Newer), fold_of(Purse, upcasters=(purse,)))


def test_an_upcaster_that_raises_costs_the_snapshot_alone() -> None:
    """An older one, or the journal, serves."""
    with pytest.raises(Unfit, match="an upcaster of PurseRules's states raised ArithmeticError: no such purse"):
        loaded(old_purses(1, -1), fold_of(Purse, upcasters=(purse,)))
