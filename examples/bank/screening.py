"""The fraud check: payees to whom no large transfer goes.  Kept by the payee's account, which knows nothing of it."""

from bank.v1.commands_pb2 import BlockPayee, ScreenTransfer, UnblockPayee
from bank.v1.events_pb2 import PayeeBlocked, PayeeUnblocked, TransferScreened
from bennu.domain import Aggregate, Rejection, State, decides, evolves


class Screening(State):
    """Whether a payee is blocked, and what the staff said when that changed last."""

    blocked: bool = False
    reason: str = ""
    passed: int = 0
    """Transfers that were let through."""


class ScreeningRules(Aggregate[Screening]):
    """The staff blocks and unblocks; the saga of a large transfer asks."""

    @decides
    def block(self, state: Screening, command: BlockPayee) -> PayeeBlocked | Rejection:
        if state.blocked:
            return Rejection("payee_already_blocked", f"the payee is blocked: {state.reason}")
        return PayeeBlocked(payee=command.payee, reason=command.reason)

    @decides
    def unblock(self, state: Screening, command: UnblockPayee) -> PayeeUnblocked | Rejection:
        if not state.blocked:
            return Rejection("payee_not_blocked", "only a blocked payee can be unblocked")
        return PayeeUnblocked(payee=command.payee, reason=command.reason)

    @decides
    def screen(self, state: Screening, command: ScreenTransfer) -> TransferScreened | Rejection:
        if state.blocked:
            return Rejection("payee_blocked", "no large transfer goes to this payee")  # why is the staff's own affair
        return TransferScreened(
            payee=command.payee,
            transfer=command.transfer,
            amount_minor=command.amount_minor,
            currency=command.currency,
        )

    @evolves
    def was_blocked(self, state: Screening, event: PayeeBlocked) -> None:
        state.blocked = True
        state.reason = event.reason

    @evolves
    def was_unblocked(self, state: Screening, event: PayeeUnblocked) -> None:
        state.blocked = False
        state.reason = event.reason

    @evolves
    def was_screened(self, state: Screening, event: TransferScreened) -> None:
        state.passed += 1
