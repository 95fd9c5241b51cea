"""given / when / then itself: it fails where a rule's test must fail, and says how."""

import itertools
from collections.abc import Callable

import pytest

from bank.v1.commands_pb2 import CloseAccount, Deposit, FreezeAccount, OpenAccount, Withdraw
from bank.v1.events_pb2 import AccountFrozen, AccountOpened, Deposited, Withdrawn
from bank.v1.queries_pb2 import AccountView, GetAccount, GetStatement, StatementView
from bennu.domain import Accepted, Aggregate, Context, Rejection, State, answers, decides, evolves
from bennu.testing import given

COUNTER = itertools.count()


class Box(State):
    """A number."""

    content: int = 0


class Rules(Aggregate[Box]):
    """Good rules, and three that no aggregate may have."""

    @decides
    def put(self, state: Box, command: Deposit) -> Deposited | Rejection:
        if command.amount_minor > 100:
            return Rejection("too_much", "it does not fit")
        return Deposited(account=command.account, amount_minor=command.amount_minor)

    @decides
    def tell(self, state: Box, command: OpenAccount, context: Context) -> Accepted:
        return Accepted([AccountOpened(account=command.account)], AccountView(owner=context.actor))

    @decides
    def change(self, state: Box, command: Withdraw) -> Withdrawn:
        state.content -= 1
        return Withdrawn(account=command.account)

    @decides
    def toss(self, state: Box, command: FreezeAccount) -> AccountFrozen:
        return AccountFrozen(account=command.account + str(next(COUNTER)))

    @evolves
    def was_put(self, state: Box, event: Deposited) -> None:
        state.content += event.amount_minor

    @evolves
    def opened(self, state: Box, event: AccountOpened) -> None:
        state.content = 0

    @evolves
    def taken(self, state: Box, event: Withdrawn) -> None:
        state.content = 0

    @evolves
    def frozen(self, state: Box, event: AccountFrozen) -> None:
        state.content = 0

    @answers
    def look(self, state: Box, query: GetAccount) -> AccountView:
        return AccountView(account=query.account, balance_minor=state.content)

    @answers
    def meddle(self, state: Box, query: GetStatement) -> StatementView:
        state.content += 1
        return StatementView(account=query.account)


FIVE = Deposited(account="a", amount_minor=5)
PUT = Deposit(account="a", amount_minor=7)
TOO_MUCH = Deposit(account="a", amount_minor=101)


def test_what_is_so_passes() -> None:
    """Events, state, reply, rejection and view, each said of the same case."""
    put = Deposited(account="a", amount_minor=7)
    given(Rules, FIVE).when(PUT).then(put).then_replied(put).then_state(content=12)
    given(Rules, FIVE).when(TOO_MUCH).then_rejected("too_much").then_state(content=5)
    given(Rules).when(OpenAccount(account="a")).then_replied(AccountView(owner="tester"))
    given(Rules, FIVE).when_asked(GetAccount(account="a")).then_answers(AccountView(account="a", balance_minor=5))


def asked() -> None:
    given(Rules).when_asked(GetAccount(account="a")).then_rejected("unknown")


FAILING: dict[str, tuple[Callable[[], object], str]] = {
    "another event": (lambda: given(Rules).when(PUT).then(FIVE), "decided:  .Deposited.account='a', amount_minor=7"),
    "no event": (lambda: given(Rules).when(PUT).then(), "decided:"),
    "an event but rejected": (lambda: given(Rules).when(TOO_MUCH).then(FIVE), "rejected: too_much .it does not fit"),
    "a rejection but decided": (lambda: given(Rules).when(PUT).then_rejected("too_much"), "decided:"),
    "another rejection": (lambda: given(Rules).when(TOO_MUCH).then_rejected("closed"), "rejected: too_much"),
    "another reply": (lambda: given(Rules).when(PUT).then_replied(FIVE), "expected reply"),
    "no such field": (
        lambda: given(Rules).when(PUT).then_state(contents=7),
        "Box has no field `contents`; it has content",
    ),
    "a history of another one": (
        lambda: given(Rules, Deposited(account="b")).when(PUT),
        "these are about different aggregates, 'a' and 'b'",
    ),
    "another state": (lambda: given(Rules).when(PUT).then_state(content=8), "state:          {'content': 7}"),
    "another view": (lambda: given(Rules).when_asked(GetAccount(account="a")).then_answers(AccountView()), "answered:"),
    "a view but no rejection": (asked, "expected: rejected as unknown"),
    "changes while deciding": (lambda: given(Rules).when(Withdraw(account="a")), "Rules.change changed the state"),
    "decides by chance": (lambda: given(Rules).when(FreezeAccount(account="a")), "Rules.toss says two things"),
    "changes while answering": (lambda: given(Rules).when_asked(GetStatement(account="a")), "Rules.meddle changed"),
    "no rule": (lambda: given(Rules).when(CloseAccount(account="a")), "has no rule for bank.v1.CloseAccount; it takes"),
    "no rule for the history": (lambda: given(Rules, AccountView()), "has no rule for bank.v1.AccountView"),
}


@pytest.mark.parametrize(("case", "said"), FAILING.values(), ids=FAILING)
def test_what_is_not_so_fails(case: Callable[[], object], said: str) -> None:
    """With what was expected and what was found; and no rule may change state, or toss a coin, while it decides."""
    with pytest.raises(AssertionError, match=said):
        case()
