"""An app with a mistake of its own is never called fine: each is planted, found, and said with its place."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf.message import Message

from bank.account import Account, AccountRules
from bank.app import app as bank
from bank.screening import ScreeningRules
from bank.transfer import TransferRules, TransferSaga, deposit, reverse, withdraw
from bank.v1.commands_pb2 import DepositForTransfer, FreezeAccount, OpenAccount, ReverseWithdrawal, Transfer
from bank.v1.events_pb2 import Deposited, TransferRequested, WithdrawalReversed, Withdrawn
from bennu.domain import App, Rejection, Retry, Saga, Scenario, State, States, Step, decides, hears
from bennu.errors import BadSettings
from bennu.explore.search import Explored
from bennu.explore.world import Model
from tests.explore.exploring import explored

GIVEN: Sequence[Message] = bank.scenarios["Transfer"].given
WHEN = bank.scenarios["Transfer"].when
FINE = Scenario("Fine", given=GIVEN, when=WHEN)
ONCE = Retry(limit=1)
Rules = type[AccountRules]
Sagas = type[Saga[Any]]


def found_in(
    rules: Rules = AccountRules, saga: Sagas = TransferSaga, scenario: Scenario = FINE, *, samples: int = 0
) -> Explored:
    """All orders with a fault, in a bank with these accounts and sagas."""
    return explored(Model(app_of(rules, saga), scenario, 2), faults=1, samples=samples)


def app_of(rules: Rules = AccountRules, saga: Sagas = TransferSaga) -> App:
    """The bank with these."""
    return App("bank", service=bank.service, aggregates=(rules, TransferRules, ScreeningRules), sagas=(saga,))


def whys(found: Explored) -> str:
    """All that is wrong, a line each."""
    return "\n".join(why for why, _ in found.failures)


class Raises(AccountRules):
    """What is undone raises."""

    @decides
    def reverse(self, state: Account, command: ReverseWithdrawal) -> WithdrawalReversed | Rejection:
        raise KeyError("nothing to reverse")


class Refuses(AccountRules):
    """What is to be undone is refused."""

    @decides
    def reverse(self, state: Account, command: ReverseWithdrawal) -> WithdrawalReversed | Rejection:
        return Rejection("not_today")


class Astray(AccountRules):
    """The event that undoes is another account's."""

    @decides
    def reverse(self, state: Account, command: ReverseWithdrawal) -> WithdrawalReversed | Rejection:
        return WithdrawalReversed(account="elsewhere")


class NoDeposit(AccountRules):
    """The pivot's own rule raises."""

    @decides
    def deposit_for_transfer(self, state: Account, command: DepositForTransfer) -> Deposited | Rejection:
        raise ZeroDivisionError("in a deposit")


def raising(_asked: TransferRequested) -> DepositForTransfer:
    raise LookupError("no such deposit")


def reverse_elsewhere(asked: TransferRequested) -> ReverseWithdrawal:
    made = reverse(asked)
    made.account = asked.target
    return made


class Unmakeable(TransferSaga):
    """The function of a step raises."""

    steps = (Step("withdraw", withdraw, compensation=reverse), Step("deposit", raising))


class Unnamed(TransferSaga):
    """Its `key` raises."""

    def key(self, trigger: TransferRequested) -> str:
        raise ValueError("no name")


class Noted(State):
    """What `Deaf` remembers."""


class Deaf(TransferSaga):
    """What hears of an answer raises."""

    data = Noted

    @hears
    def heard(self, data: Noted, event: Withdrawn) -> None:
        raise ValueError("not heard")


class Elsewhere(TransferSaga):
    """A step that may be given up is undone in another account, which may be in another partition."""

    steps = (
        Step("withdraw", withdraw, compensation=reverse_elsewhere, timeout_ms=1_000),
        Step("deposit", deposit),
    )


class Forward(TransferSaga):
    """The last step comes after the pivot, and is refused for good; see `FROZEN`."""

    steps = (
        Step("withdraw", withdraw, pivot=True),
        Step("deposit", deposit, retry=ONCE),
    )


HERE = r"\(tests/explore/test_broken_apps.py:\d+, in "
BROKEN: dict[str, tuple[Rules, Sagas, Sequence[str]]] = {
    "a compensation that raises": (
        Raises,
        TransferSaga,
        (
            rf"a rule for bank.v1.ReverseWithdrawal failed: KeyError: 'nothing to reverse' {HERE}reverse\)",
            "TransferSaga:t ends in compensation_failed, and no fault explains it",
            "the compensation of step `withdraw` is refused with rule_failed",
        ),
    ),
    "a compensation that refuses": (Refuses, TransferSaga, ("step `withdraw` is refused with not_today",)),
    "an event with another key": (Astray, TransferSaga, ("returned an event of aggregate `elsewhere`",)),
    "a pivot that raises": (
        NoDeposit,
        TransferSaga,
        (rf"DepositForTransfer failed: ZeroDivisionError: in a deposit {HERE}", "no path ends completed"),
    ),
    "a function of the saga that raises": (
        AccountRules,
        Unmakeable,
        (
            rf"a rule for Unmakeable failed: LookupError: no such deposit {HERE}raising\)",
            "Unmakeable:t is parked, and no fault explains it: rule_failed: LookupError",
        ),
    ),
    "a key that raises": (AccountRules, Unnamed, (rf"a rule for Unnamed failed: ValueError: no name {HERE}key\)",)),
    "data that raises": (AccountRules, Deaf, (rf"a rule for Deaf failed: ValueError: not heard {HERE}heard\)",)),
    "undone elsewhere": (
        AccountRules,
        Elsewhere,
        ("step `withdraw` has a time limit, but its compensation goes to `bob` and its command to `alice`",),
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_app_s_own_mistake_is_found(case: str) -> None:
    """On the simplest path that shows it, with the rule, the exception and its line."""
    rules, saga, wanted = BROKEN[case]
    found = found_in(rules, saga)
    for each in wanted:
        assert re.search(each, whys(found)), whys(found)


# --- ends that need an explanation


class Hasty(TransferSaga):
    """A compensation that is refused once has failed."""

    steps = (Step("withdraw", withdraw, compensation=reverse, undo_retry=Retry(limit=0)), Step("deposit", deposit))


@pytest.mark.parametrize(("saga", "end"), [(Hasty, "compensation_failed"), (Forward, "parked")])
def test_what_the_exploration_itself_refuses_for_good_is_no_failure(saga: Sagas, end: str) -> None:
    """Nor is the scenario's check run there: half of it is done, and the saga says so."""
    transfer = replace(FINE, check=bank.scenarios["Transfer"].check)
    found = explored(Model(app_of(saga=saga), transfer, 2), faults=2)
    assert found.failures == []
    assert found.ends[end]


class Hurried(TransferSaga):
    """What comes after the pivot has a time limit."""

    steps = (Step("withdraw", withdraw, pivot=True), Step("deposit", deposit, timeout_ms=1_000, retry=ONCE))


def test_nor_is_what_it_keeps_from_being_answered() -> None:
    """A participant that stays away until the time of a step after the pivot is over parks the saga."""
    found = found_in(saga=Hurried)
    assert found.failures == []
    assert found.ends["parked"]


FROZEN = replace(FINE, name="Frozen", given=(*GIVEN, FreezeAccount(account="bob")))


def test_a_saga_that_is_parked_by_itself_is_a_failure() -> None:
    """The step after the pivot is refused by its rule, on the path without faults too."""
    found = found_in(saga=Forward, scenario=FROZEN)
    assert "Forward:t is parked, and no fault explains it: step `deposit` was refused 2 times" in whys(found)
    assert not any(event.fault for event in found.failures[0].path)


def test_an_exploration_in_which_nothing_completes_is_a_failure() -> None:
    """Each path by itself is right; that it is all there is, is not."""
    found = found_in(scenario=FROZEN)
    assert [why.partition(";")[0] for why, _ in found.failures] == ["no path ends completed"]


def test_a_scenario_may_say_how_it_ends() -> None:
    """Then these ends are right, and its check is run on them."""
    assert found_in(scenario=replace(FROZEN, ends=("compensated",))).failures == []
    assert found_in(saga=Forward, scenario=replace(FROZEN, ends=("parked",))).failures == []
    checked = replace(FROZEN, ends=("parked",), check=bank.scenarios["Transfer"].check)
    assert whys(found_in(saga=Forward, scenario=checked)).startswith("check: 100 was paid in, 70 is on the accounts")


def test_an_end_that_is_none_is_named() -> None:
    """A misspelt end would never be seen."""
    with pytest.raises(BadSettings, match="no saga ends 'complete'; `ends` names some of completed, compensated"):
        replace(FINE, ends=("complete",))


# --- a scenario's own mistakes


def start(scenario: Scenario) -> None:
    """The beginning of an exploration."""

    async def life() -> None:
        Model(app_of(), scenario, 2).start()

    asyncio.run(life())


BAD = {
    "a command that is refused": (
        replace(FINE, given=(*GIVEN, OpenAccount(account="bob", currency="EUR"))),
        "scenario Fine: command 4 of `given`, OpenAccount, is refused: account_exists: an account was already opened",
    ),
    "a command that is invalid": (
        replace(FINE, when=Transfer(transfer="t", source="alice", target="bob", currency="EUR", amount_minor=0)),
        "scenario Fine: `when`, Transfer, is refused: bank.v1.Transfer.amount_minor: ",
    ),
    "a command of nobody": (
        replace(FINE, when=Deposited(account="bob")),
        "scenario Fine: `when`, Deposited, is no command of `bank`",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_scenario_that_can_not_begin_says_why(case: str) -> None:
    """In one line: which of its commands, and what is wrong with it."""
    scenario, message = BAD[case]
    with pytest.raises(BadSettings) as raised:
        start(scenario)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def by_the_state_s_name(states: States) -> None:
    """A check with a mistake."""
    states["Account"]


def test_a_check_that_raises_is_a_failure() -> None:
    """It says what it raised where, and what there is."""
    found = found_in(scenario=replace(FINE, check=by_the_state_s_name))
    place = r"\(tests/explore/test_broken_apps.py:\d+, in by_the_state_s_name\)"
    assert re.fullmatch(
        rf"check of scenario Fine raised KeyError: 'Account' {place}; states has AccountRules, .*",
        whys(found),
    )


def test_a_check_that_gives_something_is_a_failure() -> None:
    """One that says False where it should raise would never find anything."""
    check: Any = lambda _states: False  # noqa: E731
    assert "check of scenario Fine gives False" in whys(found_in(scenario=replace(FINE, check=check)))


def test_that_no_saga_starts_is_said_once() -> None:
    """However many paths are drawn."""
    found = found_in(scenario=replace(FINE, when=OpenAccount(account="eve", currency="EUR")), samples=30)
    assert whys(found) == "no saga was started"
