"""A journal of the bank that has been busy for long: written at once, before a drill begins."""

from collections.abc import Iterator

from bank.v1.events_pb2 import Deposited
from benchmarks import journals
from benchmarks.journals import BATCH, Leader, event_of
from benchmarks.traffic import CYCLE, FUNDS_MINOR, Traffic
from bennu.log.port import Log

ACCOUNTS = 10_000
WINDOW_COMMANDS = 100_000

assert BATCH % CYCLE == 0


async def write(log: Log, events: int) -> None:
    """So many events, or some more, in partition 0 of 1."""
    await journals.write(log, _bodies(events))


def _bodies(events: int) -> Iterator[bytes]:
    leader = Leader(window_count=WINDOW_COMMANDS)
    yield leader.begin()
    yield from leader.opening(ACCOUNTS)
    for first in range(0, ACCOUNTS, BATCH):
        yield leader.batch([event_of(_funds(number)) for number in range(first, min(first + BATCH, ACCOUNTS))])
    for batch in Traffic(ACCOUNTS).batches(max(0, events - 2 * ACCOUNTS), BATCH):
        yield leader.batch(batch)


def _funds(number: int) -> Deposited:
    return Deposited(account=journals.name(number), amount_minor=FUNDS_MINOR, currency="EUR", balance_minor=FUNDS_MINOR)
