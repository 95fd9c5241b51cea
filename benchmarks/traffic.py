"""What a busy bank's journal holds: of ten events six are cash deposits, and four are a transfer's.

A transfer is requested, withdrawn, deposited and completed ten transfers apart each, as its saga does it: in batches
of a hundred its events stand in four batches.
"""

from collections.abc import Iterator

from google.protobuf.message import Message

from bank.v1.events_pb2 import Deposited, TransferCompleted, TransferRequested, Withdrawn
from benchmarks.journals import Event, event_of, name

CYCLE = 10
DEPOSITS = 6
APART = 10
"""Transfers between one step and the next."""
FUNDS_MINOR = 1_000_000
"""What an account begins with, so that no balance falls below nothing."""


class Traffic:
    """Events of the accounts `0` to `accounts - 1`, with balances that add up."""

    def __init__(self, accounts: int) -> None:
        self._balances = [FUNDS_MINOR] * accounts
        self._serial = 0

    def batches(self, events: int, size: int) -> Iterator[list[Event]]:
        """So many events, in batches of `size`, a multiple of `CYCLE`: the last event of each is a deposit."""
        for _ in range(0, events, size):
            yield [event_of(each) for _ in range(0, size, CYCLE) for each in self._cycle()]

    def _cycle(self) -> Iterator[Message]:
        self._serial += 1
        yield from self._steps()
        for number in range(DEPOSITS):
            yield self._deposit(self._serial * 7919 + number * 104_729, 500)

    def _steps(self) -> Iterator[Message]:
        requested, withdrawn, deposited, completed = (self._serial - APART * step for step in range(4))
        payer, payee = self._name(requested * 31), self._name(requested * 37 + 1)
        yield TransferRequested(
            transfer=_transfer(requested), source=payer, target=payee, amount_minor=7, currency="EUR"
        )
        if withdrawn > 0:
            place, balance_minor = self._moved(withdrawn * 31, -7)
            yield Withdrawn(
                account=place,
                amount_minor=7,
                currency="EUR",
                balance_minor=balance_minor,
                transfer=_transfer(withdrawn),
            )
        if deposited > 0:
            yield self._deposit(deposited * 37 + 1, 7, transfer=_transfer(deposited))
        if completed > 0:
            yield TransferCompleted(transfer=_transfer(completed))

    def _deposit(self, number: int, amount_minor: int, *, transfer: str = "") -> Deposited:
        place, balance_minor = self._moved(number, amount_minor)
        return Deposited(
            account=place, amount_minor=amount_minor, currency="EUR", balance_minor=balance_minor, transfer=transfer
        )

    def _moved(self, number: int, amount_minor: int) -> tuple[str, int]:
        index = number % len(self._balances)
        self._balances[index] += amount_minor
        return name(index), self._balances[index]

    def _name(self, number: int) -> str:
        return name(number % len(self._balances))


def _transfer(number: int) -> str:
    return f"transfer-{number:08}"
