"""Exploring sagas: what is right passes on every path, and each planted mistake is found on one."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import Any
from unittest import mock

import pytest

from bank import transfer_v2
from bank.account import AccountRules
from bank.app import app as bank
from bank.scenarios import BLOCKED, all_money_is_there
from bank.screening import ScreeningRules
from bank.transfer import TransferRules, TransferSaga, deposit, reverse, withdraw
from bank.v1 import bank_pb2
from bank.v1.commands_pb2 import (
    Deposit,
    DepositForTransfer,
    OpenAccount,
    ReverseWithdrawal,
    Transfer,
    WithdrawForTransfer,
)
from bank.v1.events_pb2 import TransferRequested
from bennu.domain import NOTHING, App, Parallel, Saga, Scenario, Step
from bennu.explore.values import Event, World
from bennu.explore.world import Model
from bennu.replica.leader import Replica
from bennu_cserver import deciding
from bennu_cserver.numbered import why_not_undone
from bennu_cserver.submission import Submission
from bennu_saga import moves, state
from bennu_saga.fold import SagaFold
from bennu_saga.state import COMPENSATION, SagaState
from tests.explore.exploring import explored

TAX_MINOR = 5


def tax(asked: TransferRequested) -> WithdrawForTransfer:
    """Out of a second account."""
    return WithdrawForTransfer(account="carol", transfer=asked.transfer, amount_minor=TAX_MINOR, currency="EUR")


def untax(asked: TransferRequested) -> ReverseWithdrawal:
    """Back to it."""
    return ReverseWithdrawal(account="carol", transfer=asked.transfer, amount_minor=TAX_MINOR, currency="EUR")


def deposit_all(asked: TransferRequested) -> DepositForTransfer:
    """Both."""
    made = deposit(asked)
    made.amount_minor += TAX_MINOR
    return made


class ThreeSteps(TransferSaga):
    """Two withdrawals and a deposit."""

    steps = (  # type: ignore[assignment]  # one more than it inherits
        Step("withdraw", withdraw, compensation=reverse, timeout_ms=60_000),
        Step("tax", tax, compensation=untax, timeout_ms=60_000),
        Step("deposit", deposit_all),
    )


THREE = Scenario(
    "Three",
    given=(
        OpenAccount(account="alice", currency="EUR"),
        OpenAccount(account="bob", currency="EUR"),
        OpenAccount(account="carol", currency="EUR"),
        Deposit(account="alice", currency="EUR", amount_minor=60),
        Deposit(account="carol", currency="EUR", amount_minor=40),
    ),
    when=Transfer(transfer="t", source="alice", target="bob", currency="EUR", amount_minor=30),
    check=all_money_is_there,
)


def app_of(saga: type[Saga[Any]]) -> App:
    """The bank with this saga alone."""
    service = bank_pb2.DESCRIPTOR.services_by_name["Bank"]
    return App(
        "bank",
        service=service,
        aggregates=(AccountRules, TransferRules, ScreeningRules),
        sagas=(saga,),
        scenarios=(THREE,),
    )


def three() -> Model:
    """Three steps, over two partitions."""
    return Model(app_of(ThreeSteps), THREE, 2)


def transfer() -> Model:
    """Two steps, which is enough where nothing but one command and its compensation matters."""
    return Model(bank, bank.scenarios["Transfer"], 2)


def test_a_right_saga_is_right_on_every_path() -> None:
    """Every order of events with one fault, and a sample with five: it completes or is compensated; money is kept."""
    found = explored(three(), faults=1, samples=100)
    assert found.failures == []
    assert found.complete
    assert set(found.ends) == {"completed", "compensated"}


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("Transfer", {"completed", "compensated"}),
        ("Large", {"completed", "compensated"}),
        ("Blocked", {"compensated"}),
        ("Poor", {"compensated"}),
    ],
)
def test_the_banks_transfer_is_right(name: str, ends: set[str]) -> None:
    """As `bennu explore bank.app:app Transfer` has it, and with a fee and a fraud check beside the withdrawal."""
    found = explored(Model(bank, bank.scenarios[name], 2), faults=1, samples=50)
    assert found.failures == []
    assert found.complete
    assert set(found.ends) == ends


# --- planted mistakes


@contextmanager
def compensated_twice() -> Iterator[None]:
    """A compensation that was carried out is asked for anew."""
    honest = state.settle

    def mutant(saga: SagaState, index: int, *, refused: str) -> Any:  # noqa: ANN401 - as what it replaces
        step = saga.steps[index]
        again = step.role == COMPENSATION and not refused and step.attempt == 0
        dropped = honest(saga, index, refused=refused)
        if again:
            step.phase = state.READY
        return dropped

    with mock.patch.object(state, "settle", mutant):
        yield


@contextmanager
def wrong_order() -> Iterator[None]:
    """What was carried out first is undone first."""
    honest = moves._back

    def mutant(saga: SagaState, plan: Any) -> Any:  # noqa: ANN401 - as what it replaces
        saga.order = saga.order[::-1]
        try:
            return honest(saga, plan)
        finally:
            saga.order = saga.order[::-1]

    with mock.patch.object(moves, "_back", mutant):
        yield


@contextmanager
def no_anti_hanging() -> Iterator[None]:
    """An append of unknown outcome counts as done, and participants take commands in any order."""

    def lost(self: Model, before: World, number: int, kind: str) -> World:
        sent = honest(self, before, number, kind)
        if kind != "late":
            return sent
        landed = sent.commands[number][:-1]
        logs = (*sent.commands[:number], landed, *sent.commands[number + 1 :])
        return replace(sent, commands=logs)

    def in_any_order(submission: Submission, replica: Replica) -> bool:
        replica.open.sources[submission.source] = submission.first_no + submission.next
        return True

    def why_not(command_id: str, window: Any) -> tuple[str, str] | None:  # noqa: ANN401 - as what it replaces
        never = ("nothing_to_compensate", "never heard of")
        return why_not_undone(command_id, window) if window.get(command_id) else never

    honest = Model._send
    with (
        mock.patch.object(Model, "_send", lost),
        mock.patch.object(deciding, "is_next", in_any_order),
        mock.patch.object(deciding, "why_not_undone", why_not),
    ):
        yield


@contextmanager
def lost_timer() -> Iterator[None]:
    """A step that rests is never asked for again."""
    with mock.patch.object(SagaFold, "next_timer", return_value=None):
        yield


@contextmanager
def forgotten_step() -> Iterator[None]:
    """A step that was given up is taken as not carried out."""
    honest = state.give_up

    def mutant(saga: SagaState, index: int) -> None:
        order = saga.order
        honest(saga, index)
        saga.order = order

    with mock.patch.object(state, "give_up", mutant):
        yield


PLANTED: dict[str, tuple[Callable[[], Any], str, Callable[[], Model]]] = {
    "compensation twice": (compensated_twice, "undone 2 times", three),
    "wrong order": (wrong_order, "was undone before", three),
    "missing anti-hanging": (no_anti_hanging, "carried out 1 times, undone 0 times", transfer),
    "lost timer": (lost_timer, "is lost", three),
    "a step forgotten": (forgotten_step, "carried out 1 times, undone 0 times", three),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_found(name: str) -> None:
    """With two faults at most, and the failure says what is wrong and how it came to it."""
    plant, message, model = PLANTED[name]
    with plant():
        found = explored(model(), faults=2)
    assert any(message in why for why, _ in found.failures), [why for why, _ in found.failures]
    assert all(path for _, path in found.failures)


def test_a_rule_that_never_undoes_is_found() -> None:
    """A domain's own mistake, by the check of the scenario: money does not come back."""

    def one_less(asked: TransferRequested) -> ReverseWithdrawal:
        made = reverse(asked)
        made.amount_minor -= 1
        return made

    class Forgetful(TransferSaga):
        steps = (Step("withdraw", withdraw, compensation=one_less, timeout_ms=60_000), Step("deposit", deposit))

    found = explored(Model(app_of(Forgetful), THREE, 2), faults=1)
    assert any("check: 100 was paid in, 99 is on the accounts or paid in fees" in why for why, _ in found.failures)


def test_a_path_can_be_gone_again() -> None:
    """The events of a path lead from the beginning to the same end, so a failure can be looked at step by step."""
    model = three()

    async def life() -> None:
        here, faults = model.start(), 2
        chance = Random(7)
        while events := [each for each in model.possible(here, faults) if not each.fault]:
            event = chance.choice(events)
            assert model.after(here, event) == model.after(here, Event(event.kind, event.place))
            here = model.after(here, event)
        assert here.taken == tuple(map(len, here.commands))

    asyncio.run(life())


def test_what_is_never_refunded_is_found() -> None:
    """A planted mistake in version 2: the fee of a transfer to a blocked payee stays with the bank."""

    class Greedy(transfer_v2.TransferSaga):
        steps = (
            Parallel(
                Step("withdraw", withdraw, compensation=reverse),
                Step("fee", transfer_v2.charge, compensation=NOTHING),
                Step("screening", transfer_v2.screen, compensation=NOTHING),
            ),
            Step("deposit", deposit),
        )

    found = explored(Model(app_of(Greedy), BLOCKED, 2), faults=0)
    assert any("check: bob has 0 and the bank 1000" in why for why, _ in found.failures)


def test_all_of_the_banks_saga_is_found_by_its_name() -> None:
    """The app knows its scenarios."""
    assert set(bank.scenarios) == {"Transfer", "Large", "Blocked", "Poor"}
    assert [type(saga) for saga in bank.sagas] == [TransferSaga, transfer_v2.TransferSaga]
