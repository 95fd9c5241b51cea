"""What the demonstration does, from a seed: accounts of every kind, and transfers, some to where no money may go.

A few are large: they cost a fee and are screened, and some of them go to a payee whom the staff has blocked.
"""

import random
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from google.protobuf.message import Message

from bank.transfer import SCREENED_FROM_MINOR
from bank.v1.commands_pb2 import BlockPayee, CloseAccount, Deposit, FreezeAccount, OpenAccount, Transfer

CURRENCY, OTHER_CURRENCY = "EUR", "USD"
FUNDS_MINOR = 100_000
LARGEST_MINOR = 500
ASTRAY = 0.12
"""Share of small transfers whose target will refuse."""
WEALTH_MINOR = 1_000 * SCREENED_FROM_MINOR
LARGE_EVERY = 50
"""One transfer of so many is large, ..."""
BLOCKED_EVERY = 4
"""... and one of so many of these goes to a blocked payee."""


class Kind(StrEnum):
    """What an account is like."""

    USUAL = "usual"
    WEALTHY = "wealthy"
    """Large transfers come from it."""
    BLOCKED = "blocked"
    """No large transfer goes to it."""
    FROZEN = "frozen"
    CLOSED = "closed"
    FOREIGN = "foreign"
    FULL = "full"
    UNKNOWN = "unknown"
    """Never opened."""


REFUSING = (Kind.FROZEN, Kind.CLOSED, Kind.FOREIGN, Kind.FULL, Kind.UNKNOWN)
"""They take no deposit."""
KINDS = {3: Kind.WEALTHY, 13: Kind.BLOCKED} | dict(zip((7, 8, 17, 18, 19), REFUSING, strict=True))
"""Of each twenty accounts; the others are usual."""


class Account(NamedTuple):
    """An account of the plan."""

    name: str
    kind: Kind

    @property
    def funds_minor(self) -> int:
        """What is paid in at first, in `CURRENCY`."""
        if self.kind is Kind.WEALTHY:
            return WEALTH_MINOR
        return FUNDS_MINOR if self.kind in (Kind.USUAL, Kind.BLOCKED, Kind.FROZEN, Kind.FULL) else 0

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
        if self.kind is Kind.BLOCKED:
            yield "BlockPayee", BlockPayee(payee=self.name, reason="known for it")


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
    """From usual accounts to any, and the large ones from wealthy accounts; their names are their ids."""
    parties = _Parties(among, random.Random(seed))
    for number in range(count):
        large, place = divmod(number, LARGE_EVERY)
        is_large = place == LARGE_EVERY - 1
        blocked = large % BLOCKED_EVERY == BLOCKED_EVERY - 1
        source, target, amount_minor = parties.large(blocked=blocked) if is_large else parties.small()
        yield Transfer(
            transfer=f"t-{seed}-{number:06}", source=source, target=target, amount_minor=amount_minor, currency=CURRENCY
        )


class _Parties:
    """Who pays whom how much, by chance."""

    def __init__(self, among: list[Account], chance: random.Random) -> None:
        self._chance = chance
        self._usual, self._wealthy, self._blocked = (
            [account.name for account in among if account.kind is kind]
            for kind in (Kind.USUAL, Kind.WEALTHY, Kind.BLOCKED)
        )
        self._refusing = [account.name for account in among if account.kind in REFUSING]

    def small(self) -> tuple[str, str, int]:
        source = self._chance.choice(self._usual)
        target = self._chance.choice(self._refusing if self._chance.random() < ASTRAY else self._usual)
        while target == source:
            target = self._chance.choice(self._usual)
        return source, target, self._chance.randint(1, LARGEST_MINOR)

    def large(self, *, blocked: bool) -> tuple[str, str, int]:
        source = self._chance.choice(self._wealthy)
        target = self._chance.choice(self._blocked if blocked else self._usual)
        return source, target, self._chance.randint(SCREENED_FROM_MINOR, 2 * SCREENED_FROM_MINOR)
