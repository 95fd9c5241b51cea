"""An account: opened, moved, frozen, closed.  Transfers move money through it in two halves, by transit, and may cost.

What a transfer took, its amount or its fee, is given back whatever became of the account: refusing it would leave in
transit, or with the bank, what is the account's own.
"""

from sys import intern
from typing import ClassVar

from bank.v1.commands_pb2 import (
    ChargeFee,
    CloseAccount,
    Deposit,
    DepositForTransfer,
    FreezeAccount,
    OpenAccount,
    RefundFee,
    ReverseWithdrawal,
    UnfreezeAccount,
    Withdraw,
    WithdrawForTransfer,
)
from bank.v1.events_pb2 import (
    AccountClosed,
    AccountFrozen,
    AccountOpened,
    AccountUnfrozen,
    Deposited,
    FeeCharged,
    FeeRefunded,
    WithdrawalReversed,
    Withdrawn,
)
from bank.v1.queries_pb2 import AccountView, GetAccount, GetStatement, StatementView
from bank.v1.types_pb2 import AccountStatus
from bennu.domain import Aggregate, Rejection, State, answers, decides, evolves

MAX_BALANCE_MINOR = 2**63 - 1

NEVER, OPEN, FROZEN, CLOSED = (
    AccountStatus.ACCOUNT_STATUS_UNSPECIFIED,
    AccountStatus.ACCOUNT_STATUS_OPEN,
    AccountStatus.ACCOUNT_STATUS_FROZEN,
    AccountStatus.ACCOUNT_STATUS_CLOSED,
)


class Account(State):
    """Amounts in minor units of `currency`."""

    state_version: ClassVar[int] = 2
    status: int = NEVER
    currency: str = ""
    owner: str = ""
    balance_minor: int = 0
    limit_minor: int = 0
    movements: int = 0
    credited_minor: int = 0
    debited_minor: int = 0
    fees_minor: int = 0
    """Of what was debited."""


def usable(state: Account, currency: str) -> Rejection | None:
    """Why no money may move here, or None."""
    if state.status == OPEN and state.currency == currency:
        return None
    if state.status == NEVER:
        return Rejection("account_unknown", "no account was opened under this name")
    if state.status == CLOSED:
        return Rejection("account_closed", "the account is closed")
    if state.status == FROZEN:
        return Rejection("account_frozen", "the account is frozen")
    return Rejection("currency_mismatch", f"the account holds {state.currency}, not {currency}")


def credited(state: Account, amount_minor: int) -> Rejection | int:
    """The balance after a credit, or why there can't be one."""
    balance_minor = state.balance_minor + amount_minor
    if balance_minor > MAX_BALANCE_MINOR:
        return Rejection("balance_overflow", "the balance would not fit into 63 bits")
    return balance_minor


def debited(state: Account, command: Withdraw | WithdrawForTransfer | ChargeFee) -> Rejection | int:
    """The balance after a debit, or why there can't be one."""
    refused = usable(state, command.currency)
    if refused:
        return refused
    balance_minor = state.balance_minor - command.amount_minor
    if balance_minor < 0:
        return Rejection("insufficient_funds", f"the balance is {state.balance_minor}")
    return balance_minor


def given_back(state: Account, command: ReverseWithdrawal | RefundFee) -> Rejection | int:
    """The balance after what a transfer took came back, or why it can't."""
    if state.status == NEVER:
        return Rejection("account_unknown", "no account was opened under this name")
    return credited(state, command.amount_minor)


def deposited(state: Account, command: Deposit | DepositForTransfer, transfer: str) -> Deposited | Rejection:
    """Money comes in."""
    refused = usable(state, command.currency)
    if refused:
        return refused
    balance = credited(state, command.amount_minor)
    if isinstance(balance, Rejection):
        return balance
    if state.limit_minor and balance > state.limit_minor:
        return Rejection("limit_exceeded", f"the account may hold at most {state.limit_minor}")
    return Deposited(
        account=command.account,
        amount_minor=command.amount_minor,
        currency=command.currency,
        balance_minor=balance,
        transfer=transfer,
    )


def withdrawn(state: Account, command: Withdraw | WithdrawForTransfer, transfer: str) -> Withdrawn | Rejection:
    """Money goes out."""
    balance = debited(state, command)
    if isinstance(balance, Rejection):
        return balance
    return Withdrawn(
        account=command.account,
        amount_minor=command.amount_minor,
        currency=command.currency,
        balance_minor=balance,
        transfer=transfer,
    )


class AccountRules(Aggregate[Account]):
    """What an account accepts, and how it changes."""

    @decides
    def open(self, state: Account, command: OpenAccount) -> AccountOpened | Rejection:
        if state.status != NEVER:
            return Rejection("account_exists", "an account was already opened under this name")
        return AccountOpened(
            account=command.account,
            owner=command.owner,
            currency=command.currency,
            limit_minor=command.limit_minor,
        )

    @decides
    def deposit(self, state: Account, command: Deposit) -> Deposited | Rejection:
        return deposited(state, command, "")

    @decides
    def withdraw(self, state: Account, command: Withdraw) -> Withdrawn | Rejection:
        return withdrawn(state, command, "")

    @decides
    def withdraw_for_transfer(self, state: Account, command: WithdrawForTransfer) -> Withdrawn | Rejection:
        return withdrawn(state, command, command.transfer)

    @decides
    def deposit_for_transfer(self, state: Account, command: DepositForTransfer) -> Deposited | Rejection:
        return deposited(state, command, command.transfer)

    @decides
    def reverse(self, state: Account, command: ReverseWithdrawal) -> WithdrawalReversed | Rejection:
        balance = given_back(state, command)
        if isinstance(balance, Rejection):
            return balance
        return WithdrawalReversed(
            account=command.account,
            amount_minor=command.amount_minor,
            currency=command.currency,
            balance_minor=balance,
            transfer=command.transfer,
        )

    @decides
    def charge(self, state: Account, command: ChargeFee) -> FeeCharged | Rejection:
        balance = debited(state, command)
        if isinstance(balance, Rejection):
            return balance
        return FeeCharged(
            account=command.account,
            amount_minor=command.amount_minor,
            currency=command.currency,
            balance_minor=balance,
            transfer=command.transfer,
        )

    @decides
    def refund(self, state: Account, command: RefundFee) -> FeeRefunded | Rejection:
        balance = given_back(state, command)
        if isinstance(balance, Rejection):
            return balance
        return FeeRefunded(
            account=command.account,
            amount_minor=command.amount_minor,
            currency=command.currency,
            balance_minor=balance,
            transfer=command.transfer,
        )

    @decides
    def freeze(self, state: Account, command: FreezeAccount) -> AccountFrozen | Rejection:
        refused = usable(state, state.currency)
        return refused or AccountFrozen(account=command.account)

    @decides
    def unfreeze(self, state: Account, command: UnfreezeAccount) -> AccountUnfrozen | Rejection:
        if state.status != FROZEN:
            return Rejection("account_not_frozen", "only a frozen account can be unfrozen")
        return AccountUnfrozen(account=command.account)

    @decides
    def close(self, state: Account, command: CloseAccount) -> AccountClosed | Rejection:
        refused = usable(state, state.currency)
        if refused:
            return refused
        if state.balance_minor:
            return Rejection("balance_not_zero", f"the balance is {state.balance_minor}")
        return AccountClosed(account=command.account)

    @evolves
    def opened(self, state: Account, event: AccountOpened) -> None:
        state.status = OPEN
        state.owner = event.owner
        state.currency = intern(event.currency)  # one text for all that were not read from a snapshot
        state.limit_minor = event.limit_minor

    @evolves
    def was_deposited(self, state: Account, event: Deposited) -> None:
        state.balance_minor = event.balance_minor
        state.credited_minor += event.amount_minor
        state.movements += 1

    @evolves
    def was_withdrawn(self, state: Account, event: Withdrawn) -> None:
        state.balance_minor = event.balance_minor
        state.debited_minor += event.amount_minor
        state.movements += 1

    @evolves
    def was_reversed(self, state: Account, event: WithdrawalReversed) -> None:
        state.balance_minor = event.balance_minor
        state.debited_minor -= event.amount_minor
        state.movements += 1

    @evolves
    def was_charged(self, state: Account, event: FeeCharged) -> None:
        state.balance_minor = event.balance_minor
        state.debited_minor += event.amount_minor
        state.fees_minor += event.amount_minor
        state.movements += 1

    @evolves
    def was_refunded(self, state: Account, event: FeeRefunded) -> None:
        state.balance_minor = event.balance_minor
        state.debited_minor -= event.amount_minor
        state.fees_minor -= event.amount_minor
        state.movements += 1

    @evolves
    def frozen(self, state: Account, event: AccountFrozen) -> None:
        state.status = FROZEN

    @evolves
    def unfrozen(self, state: Account, event: AccountUnfrozen) -> None:
        state.status = OPEN

    @evolves
    def closed(self, state: Account, event: AccountClosed) -> None:
        state.status = CLOSED

    @answers
    def get(self, state: Account, query: GetAccount) -> AccountView | Rejection:
        if state.status == NEVER:
            return Rejection("account_unknown", "no account was opened under this name")
        return AccountView(
            account=query.account,
            owner=state.owner,
            currency=state.currency,
            balance_minor=state.balance_minor,
            status=AccountStatus.ValueType(state.status),
            limit_minor=state.limit_minor,
        )

    @answers
    def statement(self, state: Account, query: GetStatement) -> StatementView | Rejection:
        if state.status == NEVER:
            return Rejection("account_unknown", "no account was opened under this name")
        return StatementView(
            account=query.account,
            currency=state.currency,
            balance_minor=state.balance_minor,
            movements=state.movements,
            credited_minor=state.credited_minor,
            debited_minor=state.debited_minor,
            fees_minor=state.fees_minor,
        )
