"""A position counts only in the history that it was taken in."""

import asyncio
from collections.abc import Callable

import pytest

from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.replica.journal import FORMAT_VERSION, Position, encode
from bennu.replica.slices import Unfit
from bennu.snapshots.lineage import check_lineage
from bennu.v1.journal_pb2 import EpochStart
from tests.snapshots.replicas import TOPIC, Bank


class Journal:
    """Two epochs of a few batches; `positions` after each, and after a void record and a third epoch."""

    def __init__(self, *, term: int = 7) -> None:
        self.broker = MemoryBroker()
        self.log = MemoryLog(self.broker)
        self.positions: list[Position] = []
        asyncio.run(self._write(Bank(self.log, term=term)))

    async def _write(self, bank: Bank) -> None:
        for _ in range(2):
            await bank.begins()
            self.positions.append(bank.writer.position)
            for _ in range(3):
                await bank.writes(1)
                self.positions.append(bank.writer.position)
        await bank.writer.append(encode(EpochStart(format_version=FORMAT_VERSION, epoch=1, term=99, partitions=1)))
        self.positions.append(bank.writer.position)
        await bank.begins()
        self.positions.append(bank.writer.position)

    def check(self, position: Position) -> None:
        """Raise `Unfit` unless it is one of this journal's."""

        async def work() -> None:
            await check_lineage(self.log, position, await self.log.bounds(TOPIC))

        asyncio.run(work())


def test_every_position_of_the_history_counts() -> None:
    """Also one after an epoch's start, after a record that is void, and before any batch."""
    journal = Journal()
    for position in journal.positions:
        journal.check(position)


def test_no_position_of_another_history_counts() -> None:
    """A journal that was begun again under the same name, by other leaders."""
    journal = Journal()
    for position in Journal(term=70).positions:
        with pytest.raises(Unfit, match="another history"):
            journal.check(position)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p._replace(epoch=p.epoch + 1),
        lambda p: p._replace(term=p.term + 1),
        lambda p: p._replace(batch_no=p.batch_no + 1),
        lambda p: p._replace(next_seq=p.next_seq + 1),
        lambda p: p._replace(digest=bytes(16)),
        lambda p: p._replace(offset=p.offset - 1),
    ],
    ids=["epoch", "term", "batch", "seq", "digest", "offset"],
)
def test_a_position_counts_only_as_a_whole(change: Callable[[Position], Position]) -> None:
    """Each part of it is compared."""
    journal = Journal()
    with pytest.raises(Unfit):
        journal.check(change(journal.positions[-3]))


def test_where_the_records_before_are_gone_the_next_batch_decides() -> None:
    """It continues the position's digest, or the position is another history's."""
    journal = Journal()
    kept = journal.positions[2]
    journal.broker.expire_before(TOPIC, kept.offset)
    journal.check(kept)
    with pytest.raises(Unfit, match="another history"):
        journal.check(kept._replace(digest=bytes(16)))


def test_at_the_tail_of_a_log_that_kept_nothing_there_is_nothing_to_compare() -> None:
    """All there was is in the state; nothing contradicts it."""
    journal = Journal()
    last = journal.positions[-1]
    journal.broker.expire_before(TOPIC, last.offset)
    journal.check(last)
