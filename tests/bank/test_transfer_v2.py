"""The transfer of today: fee and fraud check beside the withdrawal, and whatever is refused, all of it goes back."""

import pytest

from bank.app import app
from bank.transfer import FREE_BELOW_MINOR, SCREENED_FROM_MINOR, deposit, fee_of, reverse, withdraw
from bank.transfer_v2 import TransferSaga, charge, refund, screen
from bank.v1.commands_pb2 import ChargeFee, CompleteTransfer, FailTransfer, RefundFee, ScreenTransfer
from bank.v1.events_pb2 import TransferRequested
from bennu.testing.saga import Signal, ToldSaga, accepted, given_saga, refused, unanswered
from bennu_saga.definitions import Definitions

SMALL, DEAR, LARGE, OLD = (
    TransferRequested(
        transfer="t",
        source="a",
        target="b",
        amount_minor=amount_minor,
        currency="EUR",
        fee_minor=fee_minor,
        screened=screened,
    )
    for amount_minor, fee_minor, screened in (
        (FREE_BELOW_MINOR - 1, 0, False),
        (FREE_BELOW_MINOR, fee_of(FREE_BELOW_MINOR), False),
        (SCREENED_FROM_MINOR, fee_of(SCREENED_FROM_MINOR), True),
        (SCREENED_FROM_MINOR, 0, False),
    )
)
"""The last one was asked for before there were fees and a fraud check, and read after."""
DONE = CompleteTransfer(transfer="t")


def told(asked: TransferRequested, *history: Signal) -> ToldSaga:
    """What carries this transfer out, after these signals."""
    return given_saga(TransferSaga, asked, *history, app=app)


def failed(reason: str) -> FailTransfer:
    return FailTransfer(transfer="t", reason=reason)


def test_a_small_transfer_is_withdrawn_and_deposited() -> None:
    """It costs nothing and nobody looks at the payee."""
    told(SMALL).then(withdraw(SMALL)).when(accepted("withdraw")).then(deposit(SMALL)).when(accepted("deposit")).then(
        DONE
    ).when(accepted()).then_is("completed")


def test_a_dear_one_is_charged_at_the_same_time() -> None:
    """The deposit follows when both are done, in whatever order."""
    half = told(DEAR).then(withdraw(DEAR), charge(DEAR)).when(accepted("fee")).then()
    half.when(accepted("withdraw")).then(deposit(DEAR)).when(accepted("deposit")).then(DONE)


def test_a_large_one_is_screened_as_well() -> None:
    """All three at the same time."""
    all_three = told(LARGE).then(withdraw(LARGE), charge(LARGE), screen(LARGE))
    all_three.when(accepted("screening")).then().when(accepted("withdraw")).then().when(accepted("fee")).then(
        deposit(LARGE)
    ).when(accepted("deposit")).then(DONE).when(accepted()).then_is("completed")


def test_what_was_asked_for_before_goes_on_as_it_was_asked_for() -> None:
    """A large transfer whose event is from before there were fees and a check: no tariff of today is applied to it."""
    told(OLD).then(withdraw(OLD)).when(accepted("withdraw")).then(deposit(OLD))


def test_what_goes_to_a_blocked_payee_comes_back() -> None:
    """What is under way is waited for; then the fee is refunded and the withdrawal reversed, the last one first."""
    blocked = told(LARGE, refused("screening", "payee_blocked")).then().then_is("compensating", "payee_blocked")
    blocked.when(accepted("withdraw")).then().when(accepted("fee")).then(refund(LARGE)).when(accepted("fee")).then(
        reverse(LARGE)
    ).when(accepted("withdraw")).then(failed("payee_blocked")).when(accepted()).then_is("compensated")


def test_a_fee_without_the_amount_is_refunded() -> None:
    """There was enough for the fee, and not for the amount."""
    poor = told(DEAR, refused("withdraw", "insufficient_funds")).then()
    poor.when(accepted("fee")).then(refund(DEAR)).when(accepted("fee")).then(failed("insufficient_funds"))


def test_an_amount_without_the_fee_is_reversed() -> None:
    """There was enough for the amount, and then not for the fee."""
    poor = told(DEAR, accepted("withdraw"), refused("fee", "insufficient_funds")).then(reverse(DEAR))
    poor.when(accepted("withdraw")).then(failed("insufficient_funds"))


def test_a_refused_deposit_gives_everything_back() -> None:
    """That the payee was looked at has nothing that could be undone."""
    told(
        LARGE, accepted("withdraw"), accepted("fee"), accepted("screening"), refused("deposit", "account_closed")
    ).then(refund(LARGE)).when(accepted("fee")).then(reverse(LARGE)).when(accepted("withdraw")).then(
        failed("account_closed")
    )


def test_a_check_that_nobody_answers_is_a_refusal() -> None:
    """A large transfer does not pass unseen, and does not wait for ever."""
    waits = told(LARGE, accepted("withdraw"), accepted("fee"), unanswered("screening"))
    waits.then(refund(LARGE)).then_is("compensating", "step_timed_out")


def test_each_step_says_what_it_is_about() -> None:
    """Fee and refund are of the source, in the transfer's currency; the check is of the target."""
    fee = {"transfer": "t", "amount_minor": LARGE.fee_minor, "currency": "EUR"}
    assert charge(LARGE) == ChargeFee(account="a", **fee)  # type: ignore[arg-type]  # fields of two types
    assert refund(LARGE) == RefundFee(account="a", **fee)  # type: ignore[arg-type]  # as above
    assert screen(LARGE) == ScreenTransfer(payee="b", transfer="t", amount_minor=LARGE.amount_minor, currency="EUR")


@pytest.mark.parametrize("version", [1, 2])
def test_both_versions_are_the_banks(version: int) -> None:
    """New transfers begin with the second; what began with the first still finds it."""
    definitions = Definitions(app)
    assert definitions.get("TransferSaga", version) is not None
    assert [each.version for each in definitions.by_trigger["bank.v1.TransferRequested"]] == [2]
