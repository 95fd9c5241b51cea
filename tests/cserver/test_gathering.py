"""How many commands of a long line share a batch."""

from contextlib import aclosing

from bank.v1.commands_pb2 import OpenAccount
from bennu.limits import BATCH_ENTRIES, DECIDE_CHUNK, GATHER_SLICES, LONE_SLICE
from bennu.replica.journal import decode
from bennu.testing.loop import run
from bennu.v1.journal_pb2 import EventBatch
from bennu_cserver.submission import Submission
from tests.cserver.test_intake import never, prepared, routes_of_a_stalled_partition


async def entries_of(commands: int, *, beside_calm: bool = False) -> list[int]:
    """How many commands each batch has, of a line that long when the partition begins to decide."""
    routes, partition = routes_of_a_stalled_partition()
    if beside_calm:
        routes.members[0].pauses.arrived(1, "another partition", "who sends one at a time")
    replica = partition.replica
    replica.state.window.count, replica.state.window.age_us = commands, 10**9
    replica.lead()
    await replica.log.create(replica.topic)
    opened = [prepared(OpenAccount(account=f"a{n}", currency="EUR"), f"open-{n}") for n in range(commands)]
    partition.submit(Submission(opened, never))
    partition.stop()
    await partition.lead()
    async with aclosing(replica.log.read(replica.topic, 0)) as chunks:
        bodies = [body for _, body in await anext(chunks)]
    return [len(batch.command_ids) for body in bodies if isinstance(batch := decode(body, where="test"), EventBatch)]


def test_a_short_line_is_one_batch() -> None:
    """A batch is not closed while the line has more for it."""
    assert run(entries_of(3 * DECIDE_CHUNK)) == [3 * DECIDE_CHUNK]


def test_a_line_that_does_not_end_is_closed_all_the_same() -> None:
    """After so many slices a batch goes to the log, whatever is in line."""
    full = GATHER_SLICES * DECIDE_CHUNK
    first, *rest = run(entries_of(3 * full + 1, beside_calm=True))
    assert first == full
    assert sum(rest) == 2 * full + 1


def test_slices_are_longer_while_nobody_calm_is_served() -> None:
    """One of few commands costs as much as one of many."""
    assert GATHER_SLICES * LONE_SLICE * DECIDE_CHUNK > BATCH_ENTRIES
    first, *rest = run(entries_of(2 * BATCH_ENTRIES))
    assert first == BATCH_ENTRIES
    assert sum(rest) == BATCH_ENTRIES
