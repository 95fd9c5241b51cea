"""An app that can't work is refused when it is declared, with the class and method at fault."""

from collections.abc import Callable
from typing import Any

import pytest

from bank.account import Account, AccountRules
from bank.app import app as bank
from bank.transfer import TransferRules
from bank.v1 import bank_pb2
from bank.v1.commands_pb2 import Deposit, WithdrawForTransfer
from bank.v1.events_pb2 import AccountFrozen, Deposited, TransferRequested, Withdrawn
from bank.v1.queries_pb2 import AccountView, GetAccount, GetStatement, StatementView
from bennu.domain import Aggregate, App, Rejection, State, answers, decides, evolves, upcasts
from bennu.errors import BadSettings

BANK = bank_pb2.DESCRIPTOR.services_by_name["Bank"]


def declared(*rules: type[Aggregate[Any]], upcasters: tuple[Callable[[Any], Any], ...] = ()) -> App:
    """The bank with these rules beside, or instead of, its own."""
    return App("bank", service=BANK, aggregates=(*rules, TransferRules), upcasters=upcasters)


class Stateless(Aggregate):  # type: ignore[type-arg]  # that is the fault
    pass


class Incomplete(State):
    balance_minor: int


class WithoutDefault(Aggregate[Incomplete]):
    pass


class Unannotated(AccountRules):
    @decides
    def deposit(self, state: Account, command) -> Deposited:  # type: ignore[no-untyped-def]  # that is the fault
        raise NotImplementedError


class Untyped(AccountRules):
    @decides
    def deposit(self, state: Account, command: str) -> Deposited:  # type: ignore[override]  # that is the fault
        raise NotImplementedError


class TooFew(AccountRules):
    @decides
    def deposit(self, command: Deposit) -> Deposited:  # type: ignore[override]  # that is the fault
        raise NotImplementedError


class Keyless(AccountRules):
    @evolves
    def viewed(self, state: Account, event: AccountView) -> None:
        raise NotImplementedError


class Twice(AccountRules):
    @decides
    def deposit_too(self, state: Account, command: Deposit) -> Deposited:
        raise NotImplementedError


class BothRoles(AccountRules):
    @evolves
    def commanded(self, state: Account, event: WithdrawForTransfer) -> None:
        raise NotImplementedError


class Unevolved(Aggregate[Account]):
    @decides
    def deposit(self, state: Account, command: Deposit) -> list[Deposited] | Rejection:
        raise NotImplementedError


class AnotherView(AccountRules):
    @answers
    def get(self, state: Account, query: GetAccount) -> StatementView:  # type: ignore[override]  # that is the fault
        raise NotImplementedError


class Nothing(Aggregate[Account]):
    pass


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (Stateless, "Stateless must derive from Aggregate[YourState]"),
        (WithoutDefault, "Incomplete.balance_minor has no default"),
        (Unannotated, "Unannotated.deposit: parameter `command` must be annotated with a protobuf message class"),
        (Untyped, "Untyped.deposit: parameter `command` must be annotated with a protobuf message class"),
        (TooFew, "TooFew.deposit: expected at least 3 parameters, found 2"),
        (Keyless, "bank.v1.AccountView: exactly one string field must carry [(bennu.v1.key) = true], found 0"),
        (Twice, "bank.v1.Deposit has two rules"),
        (BothRoles, "bank.v1.WithdrawForTransfer has two rules"),
        (Unevolved, "Unevolved.deposit returns bank.v1.Deposited, which no @evolves rule takes"),
        (AnotherView, "AnotherView.get returns bank.v1.StatementView, but bank.v1.Bank/GetAccount returns bank.v1.Acc"),
        (Nothing, "bank.v1.Bank/OpenAccount: no rule takes bank.v1.OpenAccount"),
    ],
)
def test_rules_that_can_not_work_are_named(rules: type[Aggregate[Any]], said: str) -> None:
    """Before anything runs, and in the author's own names."""
    with pytest.raises(BadSettings) as raised:
        declared(rules)
    assert said in str(raised.value)


@upcasts
def of_a_known_event(old: Deposited) -> Withdrawn:
    raise NotImplementedError


@upcasts
def to_no_event(old: GetStatement) -> AccountView:
    raise NotImplementedError


@upcasts
def round_about(old: AccountView) -> StatementView:
    raise NotImplementedError


@upcasts
def and_back(old: StatementView) -> AccountView:
    raise NotImplementedError


@upcasts
def without_a_type(old: AccountView) -> Any:  # noqa: ANN401 - that is the fault
    raise NotImplementedError


@pytest.mark.parametrize(
    ("upcasters", "said"),
    [
        ((of_a_known_event,), "bank.v1.Deposited is upcast, so no other rule may take it"),
        ((to_no_event,), "bank.v1.GetStatement is upcast to bank.v1.AccountView, which no @evolves rule takes"),
        ((round_about, and_back), "bank.v1.AccountView is upcast in a circle"),
        ((round_about, round_about), "bank.v1.AccountView is upcast, so no other rule may take it"),
        ((without_a_type,), "bank.v1.AccountView is upcast to no one message"),
    ],
)
def test_upcasts_that_lead_nowhere_are_named(upcasters: tuple[Callable[[Any], Any], ...], said: str) -> None:
    """An old event must end at one that a rule takes, or replay would stop at it."""
    with pytest.raises(BadSettings) as raised:
        declared(AccountRules, upcasters=upcasters)
    assert said in str(raised.value)


def test_an_app_knows_its_messages() -> None:
    """By name: commands, events and queries, each with its rule; others are none of its."""
    assert bank.message("bank.v1.Deposited") is Deposited
    assert bank.message("bank.v1.GetAccount") is GetAccount
    assert bank.message("bank.v1.Nothing") is None
    assert bank.commands["bank.v1.Deposit"].reply_type == "bank.v1.Deposited"
    assert bank.commands["bank.v1.WithdrawForTransfer"].reply_type == ""
    assert bank.reply_message("bank.v1.GetAccount") is AccountView


def test_the_key_names_the_aggregate() -> None:
    """Of an account and of a transfer, for whatever message."""
    assert bank.events["bank.v1.AccountFrozen"].key(AccountFrozen(account="a")) == "a"
    assert bank.events["bank.v1.TransferRequested"].key(TransferRequested(transfer="t", source="a")) == "t"
