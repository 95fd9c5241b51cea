"""Rules that are no functions of state and event: a cold replay differs from the leader, and names the first batch."""

import random
import time
from collections.abc import Sequence

import pytest
from google.protobuf.message import Message

from bank.v1.commands_pb2 import Deposit, FreezeAccount, OpenAccount, Withdraw
from bank.v1.events_pb2 import AccountOpened, Deposited
from bank.v1.queries_pb2 import AccountView, GetAccount
from bennu.domain import Aggregate, App, Rejection, State, answers, decides, evolves
from bennu.errors import Diverged
from bennu.replica.fold import AggregateFold
from bennu.replica.state import ReplicaState
from bennu.v1.journal_pb2 import EventBatch
from tests.replica.deciding import Leader
from tests.replica.test_replay import nothing_called

WHERE = "impure-events-0, offset 1"


class Box(State):
    """A number, and what was done to it."""

    content: int = 0
    marks: list[int] = []  # noqa: RUF012 - msgspec copies it for each state


class Impure(Aggregate[Box]):
    """Deposits of an account called after a fault are evolved by it; the rest is as it should be."""

    drawn = 0

    @decides
    def put(self, state: Box, command: Deposit) -> Deposited:
        if command.account == "decides":
            state.content += 1
        return Deposited(account=command.account, amount_minor=command.amount_minor)

    @decides
    def refuse(self, state: Box, command: Withdraw) -> Rejection:
        state.content -= command.amount_minor
        return Rejection("insufficient_funds")

    @decides
    def fail(self, state: Box, command: FreezeAccount) -> Rejection:
        state.marks.append(0)
        raise ZeroDivisionError("half-way")

    @decides
    def open(self, state: Box, command: OpenAccount) -> AccountOpened:
        return AccountOpened(account=command.account)

    @answers
    def get(self, state: Box, query: GetAccount) -> AccountView:
        state.marks.append(1)
        return AccountView()

    @evolves
    def opened(self, state: Box, event: AccountOpened) -> None:
        """Changes nothing."""

    @evolves
    def was_put(self, state: Box, event: Deposited) -> None:
        state.content += event.amount_minor
        if event.account == "clock":
            state.content = time.perf_counter_ns()
        elif event.account == "chance":
            state.content = random.getrandbits(60)
        elif event.account == "memory":
            type(self).drawn += 1
            state.content = self.drawn


APP = App("impure", service=nothing_called(), aggregates=(Impure,))


def replay(batches: Sequence[EventBatch]) -> ReplicaState:
    """Into a memory that has read nothing."""
    state = ReplicaState(AggregateFold(APP), partition=0, partitions=1)
    for batch in batches:
        state.evolve(batch, WHERE)
    return state


def test_pure_rules_agree() -> None:
    """Every batch that touched a state is compared."""
    leader = Leader(APP)
    leader.decide(Deposit(account="a", amount_minor=1), Deposit(account="b", amount_minor=2))
    leader.decide(Deposit(account="a", amount_minor=3))
    assert replay(leader.batches).agreement.compared == 2


def test_what_was_only_tried_is_in_no_digest() -> None:
    """A dry run, of an aggregate that is there or of one that is not, leaves states and digests as they were."""
    leader = Leader(APP)
    leader.decide(Deposit(account="a", amount_minor=1))
    before = dict(leader.fold.states[0])
    for name in ("a", "new"):
        tried = leader.attempt(Deposit(account=name, amount_minor=5))
        assert list(tried.types) == ["bank.v1.Deposited"]
    assert leader.fold.states[0] == before
    leader.decide(Deposit(account="b", amount_minor=1))
    assert replay(leader.batches).agreement.compared == 2


@pytest.mark.parametrize("name", ["decides", "clock", "chance", "memory"])
def test_an_impure_rule_is_named_at_its_first_batch(name: str) -> None:
    """Deciding that changes state; evolving that reads a clock, draws a number, or remembers."""
    leader = Leader(APP)
    leader.decide(Deposit(account="a", amount_minor=1))
    leader.decide(Deposit(account="a", amount_minor=1), Deposit(account=name, amount_minor=1))
    leader.decide(Deposit(account=name, amount_minor=1))
    with pytest.raises(
        Diverged, match=rf"{WHERE}: batch 2 .*; batch 1 still agreed; it touched Impure a, Impure {name}"
    ):
        replay(leader.batches)


@pytest.mark.parametrize("before", [Withdraw(account="a", amount_minor=1), FreezeAccount(account="a")])
def test_what_a_refusal_changed_shows_at_the_next_event(before: Message) -> None:
    """A command that is refused, or fails, has no event: the change shows when the state is next touched."""
    leader = Leader(APP)
    leader.decide(Deposit(account="a", amount_minor=1))
    leader.decide(before)
    leader.decide(Deposit(account="b", amount_minor=1))
    assert replay(leader.batches).agreement.compared == 2
    leader.decide(OpenAccount(account="a"))
    with pytest.raises(Diverged, match=r"batch 4 .*; batch 3 still agreed; it touched Impure a\."):
        replay(leader.batches)


def test_what_a_query_changed_shows_at_the_next_event() -> None:
    """A query is no part of the journal; a state that it changed is."""
    leader = Leader(APP)
    leader.decide(Deposit(account="a", amount_minor=1))
    leader.ask(GetAccount(account="a"))
    leader.decide(OpenAccount(account="a"))
    with pytest.raises(Diverged, match=r"batch 2 .*; batch 1 still agreed"):
        replay(leader.batches)
