"""What the demonstration does, from a seed: accounts of every kind, and transfers, some to where no money may go."""

import random
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from google.protobuf.message import Message

from bank.v1.commands_pb2 import CloseAccount, Deposit, FreezeAccount, OpenAccount, Transfer

CURRENCY, OTHER_CURRENCY = "EUR", "USD"
FUNDS_MINOR = 100_000
LARGEST_MINOR = 500
ASTRAY = 0.12
"""Share of transfers whose target will refuse."""


class Kind(StrEnum):
    """What an account is like; all but the first refuse a deposit."""

    USUAL = "usual"
    FROZEN = "frozen"
    CLOSED = "closed"
    FOREIGN = "foreign"
    FULL = "full"
    UNKNOWN = "unknown"
    """Never opened."""


KINDS = {7: Kind.FROZEN, 8: Kind.CLOSED, 17: Kind.FOREIGN, 18: Kind.FULL, 19: Kind.UNKNOWN}
"""Of each twenty accounts; the others are usual."""


class Account(NamedTuple):
    """An account of the plan."""

    name: str
    kind: Kind

    @property
    def funds_minor(self) -> int:
        """What is paid in at first, in `CURRENCY`."""
        return FUNDS_MINOR if self.kind in (Kind.USUAL, Kind.FROZEN, Kind.FULL) else 0

    def commands(self) -> Iterator[tuple[str, Message]]:
        """(rpc, command) in order: what makes the account what it is."""
        if self.kind is Kind.UNKNOWN:
            return
        currency = OTHER_CURRENCY if self.kind is Kind.FOREIGN else CURRENCY
        limit_minor = FUNDS_MINOR if self.kind is Kind.FULL else 0
        yield (
            "OpenAccount",
            OpenAccount(account=self.name, owner=f"owner of {self.name}", currency=currency, limit_minor=limit_minor),
        )
        if self.funds_minor:
            yield "Deposit", Deposit(account=self.name, amount_minor=self.funds_minor, currency=CURRENCY)
        if self.kind is Kind.FROZEN:
            yield "FreezeAccount", FreezeAccount(account=self.name)
        if self.kind is Kind.CLOSED:
            yield "CloseAccount", CloseAccount(account=self.name)


def accounts(count: int) -> list[Account]:
    """So many that are opened; those that never are come on top."""
    found: list[Account] = []
    opened = 0
    while opened < count:
        kind = KINDS.get(len(found) % 20, Kind.USUAL)
        found.append(Account(f"acc-{len(found):05}", kind))
        opened += kind is not Kind.UNKNOWN
    return found


def transfers(among: list[Account], count: int, *, seed: int) -> Iterator[Transfer]:
    """From usual accounts to any; their names are their ids."""
    chance = random.Random(seed)
    usual = [account for account in among if account.kind is Kind.USUAL]
    refusing = [account for account in among if account.kind is not Kind.USUAL]
    for number in range(count):
        source = chance.choice(usual)
        target = chance.choice(refusing if chance.random() < ASTRAY else usual)
        while target is source:
            target = chance.choice(usual)
        yield Transfer(
            transfer=f"t-{seed}-{number:06}",
            source=source.name,
            target=target.name,
            amount_minor=chance.randint(1, LARGEST_MINOR),
            currency=CURRENCY,
        )
