"""Transfers for a drill of sagas: most are paid, some must be refused or undone, and a few can't be undone.

What can't be undone: money leaves an account that is as full as one can be, for one that is closed; before it comes
back another pays in as much, and then its return would overflow.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count

from google.protobuf.message import Message

from bank import checks
from bank.account import MAX_BALANCE_MINOR
from bank.app import app
from bank.checks import Tables
from bank.drill_load import CURRENCY, LARGEST_MINOR, expected_balances, misstated
from bank.transfer import SCREENED_FROM_MINOR, TransferSaga
from bank.v1.commands_pb2 import BlockPayee, CloseAccount, Deposit, FreezeAccount, OpenAccount, Transfer
from bank.v1.queries_pb2 import GetAccount
from bennu.drill.calls import Call, Command
from bennu.drill.journals import Journal
from bennu.drill.limits import SHOWN
from bennu.drill.saga_journals import COMPENSATED, COMPENSATION_FAILED, COMPLETED, Sagas

FUNDS_MINOR = 1_000_000_000
ACCOUNTS_PER_PARTITION = 16
ASTRAY = 0.1
"""Share of transfers to where no money may go; ..."""
POOR = 0.04
"""... of those from where there is none; ..."""
LARGE = 0.05
"""... of those that cost a fee and are screened, ..."""
BLOCKED = 0.25
"""... and, of these, of those to a blocked payee."""
LOST_EVERY = 50
"""One of so many, in the first half of them, can't be undone: asking again takes a saga some seconds."""
LOST_MINOR = 100
FILLERS = 2
"""Which see to that: they follow at once, and one is enough."""
MOST_MINOR = 10**15
"""Of one deposit, as the bank's commands have it: it takes 9,224 to fill an account, ..."""
LOST_FROM = 1_000
"""... which is not worth while for fewer sagas: of those none gets lost."""
STATUS = {COMPLETED: "completed", COMPENSATED: "failed", COMPENSATION_FAILED: "requested"}
"""Of the transfer, by how its saga ended: that of one that stands half undone has not heard of an end."""


class TransferLoad:
    """See `bennu.drill.workload.SagaWorkload`."""

    app = app

    def __init__(self, partitions: int, sagas: int, *, seed: int, name: str) -> None:
        self.partitions = partitions
        self.name = name
        self._chance = random.Random(f"{seed}/load")
        self._lost_until = sagas // 2 if sagas >= LOST_FROM else 0
        self._full = f"{name}-full"
        self._usual = self._accounts("usual", ACCOUNTS_PER_PARTITION * partitions)
        self._poor, self._closed, self._frozen, self._blocked = (
            self._accounts(kind, partitions) for kind in ("poor", "shut", "ice", "barred")
        )

    def _accounts(self, kind: str, number: int) -> list[str]:
        return [f"{self.name}-{kind}-{n}" for n in range(number)]

    def prepare(self) -> Iterator[Sequence[tuple[str, Message]]]:
        """Open the accounts, pay in, close, freeze and block."""
        every = [self._full, *self._usual, *self._poor, *self._closed, *self._frozen, *self._blocked]
        yield [(f"{name}/open", OpenAccount(account=name, owner="drill", currency=CURRENCY)) for name in every]
        funds = [(name, FUNDS_MINOR) for name in self._usual]
        if self._lost_until:
            times, rest_minor = divmod(MAX_BALANCE_MINOR, MOST_MINOR)
            funds += [*[(self._full, MOST_MINOR)] * times, (self._full, rest_minor)]
        yield [
            (f"{name}/fund-{number}", Deposit(account=name, amount_minor=minor, currency=CURRENCY))
            for number, (name, minor) in enumerate(funds)
        ]
        yield [
            *((f"{name}/close", CloseAccount(account=name)) for name in self._closed),
            *((f"{name}/freeze", FreezeAccount(account=name)) for name in self._frozen),
            *((f"{name}/block", BlockPayee(payee=name, reason="drill")) for name in self._blocked),
        ]

    def commands(self) -> Iterator[tuple[str, Message]]:
        """For ever."""
        for number in count():
            source, target, minor = self._parties(number)
            name = f"{self.name}-{number}"
            yield (
                name,
                Transfer(transfer=name, source=source, target=target, amount_minor=minor, currency=CURRENCY),
            )

    def _parties(self, number: int) -> tuple[str, str, int]:
        """Who pays whom how much."""
        member = number % LOST_EVERY
        if member <= FILLERS and number < self._lost_until:
            parties = (self._chance.choice(self._usual), self._full) if member else (self._full, self._closed[0])
            return *parties, LOST_MINOR
        source, target = self._chance.sample(self._usual, 2)
        kind, minor = self._chance.random(), self._chance.randint(1, LARGEST_MINOR)
        if kind < POOR:
            return self._chance.choice(self._poor), target, minor
        if kind < POOR + ASTRAY:
            return source, self._chance.choice([*self._closed, *self._frozen, f"{self.name}-nobody"]), minor
        if kind < POOR + ASTRAY + LARGE:
            minor += SCREENED_FROM_MINOR
            return source, self._chance.choice(self._blocked) if self._chance.random() < BLOCKED else target, minor
        return source, target, minor

    def queries(self) -> Sequence[Message]:
        """Every account."""
        return [
            GetAccount(account=name) for name in (*self._usual, self._full, *self._poor, *self._closed, *self._blocked)
        ]

    def starts_saga(self, command: Command) -> bool:
        return command.type_name == Transfer.DESCRIPTOR.full_name

    def saga_of(self, command: Command) -> str:
        return saga_of(Transfer.FromString(command.payload).transfer)

    def conserved(self, calls: Sequence[Call], journals: Sequence[Journal]) -> list[str]:
        """What was paid in lies in accounts, transit and fees, entries add up to nothing, and each event says so."""
        tables = checks.recompute([journal.batches for journal in journals])
        paid_in, found = sum(expected_balances(calls).values()), checks.money(tables).get(CURRENCY, 0)
        problems = [] if found == paid_in else [f"{paid_in} was paid in, but accounts, transit and fees hold {found}"]
        problems += [
            f"entries in {name} add up to {total}" for name, total in checks.entry_sums(tables).items() if total
        ]
        return [*problems, *misstated(journals)]

    def misjudged(self, sagas: Sagas, journals: Sequence[Journal]) -> list[str]:
        """Paid, undone once, or half undone: as the saga says."""
        wrong = list(_misjudged(sagas, checks.recompute([journal.batches for journal in journals])))
        more = [f"and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
        return [*wrong[:SHOWN], *more]


def saga_of(transfer: str) -> str:
    """Id of the saga that carries a transfer out."""
    return f"{TransferSaga.__qualname__}:{transfer}"


def _misjudged(sagas: Sagas, tables: Tables) -> Iterator[str]:
    moved: dict[str, Counter[str]] = {name: Counter() for name in tables.transfers}
    entries: Counter[str] = Counter()
    for entry in tables.entries.values():
        if entry.transfer is not None and entry.line == 0:
            moved[entry.transfer][entry.account] += entry.amount_minor
            entries[entry.transfer] += 1
    for name, row in tables.transfers.items():
        statuses = sagas.ended.get(saga_of(name))
        if not statuses:
            continue  # told as stuck
        status, minor = statuses[-1], row.amount_minor
        expected = {
            COMPLETED: {row.source: -minor - row.fee_minor, row.target: minor},
            COMPENSATED: {},
            COMPENSATION_FAILED: {row.source: -minor},  # of those that are lost, none costs a fee
        }[status]
        found = {account: total for account, total in moved[name].items() if total}
        most = 4 if row.fee_minor else 2
        if (found, row.status) != (expected, STATUS[status]) or entries[name] > most:
            yield f"{name} ended as {STATUS[status]}, but is {row.status} and moved {found} by {entries[name]} entries"
