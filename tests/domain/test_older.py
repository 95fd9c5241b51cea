"""Older forms of states: chains of upcasters that lead somewhere, or an app that is not made."""

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from bank.v1 import bank_pb2
from bennu.domain import Aggregate, App, State, upcasts
from bennu.domain.older import Older, older_versions
from bennu.errors import BadSettings


class FirstV1(State):
    """As it was at first."""

    euros: int = 0


class SecondV2(State):
    """As it was then."""

    state_version: ClassVar[int] = 2
    cents: int = 0


class Purse(State):
    """As it is."""

    state_version: ClassVar[int] = 3
    amount_minor: int = 0
    currency: str = ""


class Elsewhere(State):
    """Of no aggregate."""

    state_version: ClassVar[int] = 2


class Newer(State):
    """Of no aggregate yet."""

    state_version: ClassVar[int] = 4


class NoDefault(State):
    """Lacks one."""

    euros: int


@upcasts
def first(old: FirstV1) -> SecondV2:
    return SecondV2(cents=100 * old.euros)


@upcasts
def second(old: SecondV2) -> Purse:
    return Purse(amount_minor=old.cents, currency="EUR")


@upcasts
def straight(old: FirstV1) -> Purse:
    return Purse(amount_minor=100 * old.euros, currency="EUR")


@upcasts
def to_elsewhere(old: FirstV1) -> Elsewhere:
    raise NotImplementedError


@upcasts
def onwards(old: Purse) -> Newer:
    raise NotImplementedError


@upcasts
def downwards(old: SecondV2) -> FirstV1:
    raise NotImplementedError


@upcasts
def of_no_state(old: int) -> Purse:
    raise NotImplementedError


@upcasts
def without_default(old: NoDefault) -> Purse:
    raise NotImplementedError


def test_each_older_state_is_led_all_the_way() -> None:
    """Chains are followed: each version needs only the step to the next."""
    (found,) = older_versions([Purse], [second, first])
    assert {version: old.state for version, old in found.items()} == {1: FirstV1, 2: SecondV2}
    assert found[1].upcast(FirstV1(euros=3)) == Purse(amount_minor=300, currency="EUR")
    assert found[2].upcast(SecondV2(cents=5)) == Purse(amount_minor=5, currency="EUR")


def test_a_state_without_upcasters_has_no_older_ones() -> None:
    """Nothing has to be declared for a state that never changed."""
    assert older_versions([Purse, Elsewhere], [straight]) == [{1: Older(FirstV1, straight)}, {}]


class PurseRules(Aggregate[Purse]):
    """None."""


@pytest.mark.parametrize(
    ("upcasters", "said"),
    [
        ([to_elsewhere], "FirstV1 is upcast to Elsewhere, which no aggregate has"),
        ([onwards], "Purse is upcast, so it can be no aggregate's state"),
        ([first, straight, second], "FirstV1 is upcast, so it can be no aggregate's state, nor upcast twice"),
        ([downwards], "a newer state has a greater state_version"),
        ([of_no_state], "of_no_state: an upcaster of states is `(old: OldState) -> NewState`"),
        ([without_default], "NoDefault.euros has no default"),
    ],
)
def test_an_app_whose_states_lead_nowhere_is_not_made(upcasters: list[Callable[[Any], State]], said: str) -> None:
    """What can't work is named when the app is made, not when a snapshot is met."""
    service = bank_pb2.DESCRIPTOR.services_by_name["Bank"]
    with pytest.raises(BadSettings) as raised:
        App("bank", service=service, aggregates=[PurseRules], state_upcasters=upcasters)
    assert said in str(raised.value)
