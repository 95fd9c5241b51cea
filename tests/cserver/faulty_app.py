"""A bank whose deposits go wrong in every way that a rule can; the account's name says which."""

from collections.abc import Callable, Sequence
from typing import Any

from bank.account import Account, AccountRules
from bank.screening import ScreeningRules
from bank.transfer import TransferRules
from bank.v1 import bank_pb2
from bank.v1.commands_pb2 import Deposit
from bank.v1.events_pb2 import Deposited
from bank.v1.queries_pb2 import AccountView, GetAccount
from bennu.domain import App, Rejection, answers, decides, evolves
from bennu.limits import MAX_DECISION_BYTES

POISON = "poison"
"""In an event's `transfer`: evolving by it raises."""
ENDLESS = "endless"
"""There as well: evolving by it leads to a state that can't be kept."""


def event(command: Deposit, transfer: str = "") -> Deposited:
    """What a deposit that goes well leads to."""
    return Deposited(account=command.account, amount_minor=command.amount_minor, balance_minor=7, transfer=transfer)


def raises(_command: Deposit) -> Deposited:
    raise ZeroDivisionError("a rule divided by zero")


def raises_what_is_no_text(_command: Deposit) -> Deposited:
    raise ValueError("half a surrogate pair: \ud800")


def raises_at_length(_command: Deposit) -> Deposited:
    raise ValueError("x" * 5 * 1024 * 1024)


FAULTS: dict[str, Callable[[Deposit], Any]] = {
    "raises": raises,
    "raises-no-text": raises_what_is_no_text,
    "raises-at-length": raises_at_length,
    "half-way": lambda command: [event(command), event(command, POISON)],
    "no-state": lambda command: event(command, ENDLESS),
    "nothing": lambda _: None,
    "no-event": lambda _: [],
    "text": lambda _: "deposited",
    "another-account": lambda _: Deposited(account="elsewhere"),
    "another-type": lambda command: [GetAccount(account=command.account)],
    "generator": lambda command: (event(command, text) for text in ("", POISON)),
    "huge": lambda command: event(command, "x" * MAX_DECISION_BYTES),
    "huge-together": lambda command: [event(command, "x" * (MAX_DECISION_BYTES // 4)) for _ in range(5)],
    "many": lambda command: [event(command) for _ in range(MAX_DECISION_BYTES // 16)],
    "nameless-rejection": lambda _: Rejection(""),
    "long-name-rejection": lambda _: Rejection("x" * 100),
}


class FaultyRules(AccountRules):
    """An account's rules, spoilt."""

    @decides
    def deposit(self, state: Account, command: Deposit) -> Deposited | Rejection:
        if command.account == "refuses-at-length":
            return Rejection("too_much_to_say", "x" * 5 * 1024 * 1024)
        fault = FAULTS.get(command.account)
        found: Deposited | Rejection = fault(command) if fault else super().deposit(state, command)
        return found

    @evolves
    def was_deposited(self, state: Account, event: Deposited) -> None:
        super().was_deposited(state, event)
        if event.transfer == POISON:
            raise ZeroDivisionError("evolving divided by zero")
        if event.transfer == ENDLESS:
            state.credited_minor = 2**64

    @answers
    def get(self, state: Account, query: GetAccount) -> AccountView | Rejection:
        if query.account in UNANSWERABLE:
            return UNANSWERABLE[query.account]()
        return super().get(state, query)


def no_view() -> Any:  # noqa: ANN401 - that is the fault
    """What a rule without a `return` gives."""


def raised() -> AccountView:
    raise ZeroDivisionError("a query divided by zero")


UNANSWERABLE: dict[str, Callable[[], AccountView]] = {"query-raises": raised, "query-nothing": no_view}

AGGREGATES: Sequence[Any] = (FaultyRules, TransferRules, ScreeningRules)

app = App("bank", service=bank_pb2.DESCRIPTOR.services_by_name["Bank"], aggregates=AGGREGATES)
