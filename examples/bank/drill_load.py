"""The load of a drill: money moves between accounts on all partitions, in pairs that add up to nothing."""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import count

from google.protobuf.message import Message

from bank import checks
from bank.app import app
from bank.v1.commands_pb2 import Deposit, OpenAccount, Transfer, Withdraw
from bank.v1.queries_pb2 import GetStatement
from bennu.drill.calls import OK, Call
from bennu.drill.journals import Journal

CURRENCY = "EUR"
FUNDS_MINOR = 1_000_000
LARGEST_MINOR = 500
ACCOUNTS_PER_PARTITION = 8
TRANSFERS = 0.1
"""Share of transfers, which one aggregate takes down; ..."""
REFUSED = 0.05
"""... of withdrawals that no account can bear; the rest are pairs."""
MOVEMENTS: Mapping[str, tuple[type[checks.Movement], int]] = {
    kind.DESCRIPTOR.full_name: (kind, sign) for kind, (_, sign, _) in checks.KINDS.items()
}
"""Events that change a balance, and in which direction."""


class BankLoad:
    """See `bennu.drill.workload.Workload`."""

    app = app

    def __init__(self, partitions: int, *, seed: int, name: str) -> None:
        """`name` keeps its accounts and ids apart from those of other drills."""
        self.partitions = partitions
        self.name = name
        self._chance = random.Random(f"{seed}/load")
        self._accounts = [f"{name}-acc-{number}" for number in range(ACCOUNTS_PER_PARTITION * partitions)]

    def prepare(self) -> Iterator[Sequence[tuple[str, Message]]]:
        """Open the accounts, then pay in."""
        yield [
            (f"{account}/open", OpenAccount(account=account, owner="drill", currency=CURRENCY))
            for account in self._accounts
        ]
        yield [(f"{account}/fund", _deposit(account, FUNDS_MINOR)) for account in self._accounts]

    def commands(self) -> Iterator[tuple[str, Message]]:
        """For ever."""
        for number in count():
            name = f"{self.name}-{number}"
            source, target = self._chance.sample(self._accounts, 2)
            amount_minor = self._chance.randint(1, LARGEST_MINOR)
            kind = self._chance.random()
            if kind < REFUSED:
                yield f"{name}/refused", _withdraw(source, 2 * FUNDS_MINOR * len(self._accounts))
            elif kind < REFUSED + TRANSFERS:
                yield (
                    f"{name}/transfer",
                    Transfer(transfer=name, source=source, target=target, amount_minor=amount_minor, currency=CURRENCY),
                )
            else:
                yield f"{name}/out", _withdraw(source, amount_minor)
                yield f"{name}/in", _deposit(target, amount_minor)

    def queries(self) -> Sequence[Message]:
        """The turnover of each account."""
        return [GetStatement(account=account) for account in self._accounts]

    def conserved(self, calls: Sequence[Call], journals: Sequence[Journal]) -> list[str]:
        """What was acknowledged, the balance that each event states, and a recomputation must tell the same."""
        expected = expected_balances(calls)
        tables = checks.recompute([journal.batches for journal in journals])
        found = {
            account: tables.accounts[account].balance_minor if account in tables.accounts else 0 for account in expected
        }
        problems = [
            f"{account} holds {found[account]}, but what was acknowledged adds up to {balance_minor}"
            for account, balance_minor in expected.items()
            if found[account] != balance_minor
        ]
        if sum(found.values()) != sum(expected.values()):
            problems.append(
                f"{sum(expected.values())} was paid in and not out, but accounts hold {sum(found.values())}"
            )
        problems += [
            f"entries in {name} add up to {total}" for name, total in checks.entry_sums(tables).items() if total
        ]
        return [*problems, *misstated(journals)]


def expected_balances(calls: Sequence[Call]) -> dict[str, int]:
    """By account, what the acknowledged commands add up to."""
    balances: Counter[str] = Counter()
    for call in calls:
        if call.answer is None or call.answer.code != OK:
            continue
        if call.command.type_name == Deposit.DESCRIPTOR.full_name:
            paid_in = Deposit.FromString(call.command.payload)
            balances[paid_in.account] += paid_in.amount_minor
        if call.command.type_name == Withdraw.DESCRIPTOR.full_name:
            paid_out = Withdraw.FromString(call.command.payload)
            balances[paid_out.account] -= paid_out.amount_minor
    return dict(balances)


def misstated(journals: Sequence[Journal]) -> Iterator[str]:
    """At every event: the balance that it states follows from those before it."""
    balances: Counter[str] = Counter()
    for journal in journals:
        for batch in journal.batches:
            for index, raw in zip(batch.event_type_indexes, batch.events, strict=True):
                if (found := MOVEMENTS.get(batch.event_types[index])) is None:
                    continue
                kind, sign = found
                event = kind.FromString(raw)
                balances[event.account] += sign * event.amount_minor
                if event.balance_minor != balances[event.account]:
                    yield (
                        f"{journal.topic}, batch {batch.batch_no}: {event.account} holds {balances[event.account]}, "
                        f"but the event says {event.balance_minor}"
                    )
                    return


def _deposit(account: str, amount_minor: int) -> Deposit:
    return Deposit(account=account, amount_minor=amount_minor, currency=CURRENCY)


def _withdraw(account: str, amount_minor: int) -> Withdraw:
    return Withdraw(account=account, amount_minor=amount_minor, currency=CURRENCY)
