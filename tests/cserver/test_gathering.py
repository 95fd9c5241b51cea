"""How many commands of a long line share a batch."""

import asyncio
from contextlib import aclosing
from itertools import count, islice

from bank.v1.commands_pb2 import OpenAccount
from bennu.limits import BATCH_ENTRIES, DECIDE_CHUNK, FEW_ENTRIES, GATHER_SLICES, IDLE_TURN_US, LONE_SLICE
from bennu.replica.journal import decode
from bennu.replica.leader import Replica
from bennu.replica.pauses import Pauses
from bennu.testing.loop import run
from bennu.v1.journal_pb2 import EventBatch
from bennu_cserver.command_loop import Partition
from bennu_cserver.submission import Submission
from tests.cserver.test_intake import never, prepared, routes_of_a_stalled_partition

TURNS_BETWEEN_CALLS = 20


async def batches(replica: Replica) -> list[int]:
    """How many commands each batch of its journal has."""
    async with aclosing(replica.log.read(replica.topic, 0)) as chunks:
        bodies = [body for _, body in await anext(chunks)]
    return [len(batch.command_ids) for body in bodies if isinstance(batch := decode(body, where="test"), EventBatch)]


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
    return await batches(replica)


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


async def batches_of_calls(*together: int, busy: bool) -> list[int]:
    """How many commands each batch has; so many come in one turn of the loop, and the next ones some turns later."""
    now_us = count(step=IDLE_TURN_US + 1 if busy else 0)  # each look at the clock takes so long
    _, stalled = routes_of_a_stalled_partition()
    replica = stalled.replica
    partition = Partition(replica, stalled.fold, Pauses(lambda: next(now_us)))
    replica.state.window.count, replica.state.window.age_us = 1_000, 10**9
    replica.lead()
    replica.open.forced = False
    await replica.log.create(replica.topic)
    leading, numbers = asyncio.create_task(partition.lead()), count()
    for calls in together:
        for number in islice(numbers, calls):
            command = prepared(OpenAccount(account=f"a{number}", currency="EUR"), f"open-{number}")
            partition.submit(Submission([command], never))
        for _ in range(TURNS_BETWEEN_CALLS):
            await asyncio.sleep(0)
    partition.stop()
    await leading
    return await batches(replica)


def test_calls_that_come_one_by_one_share_an_append_of_a_busy_process() -> None:
    """Where the loop is idle in between nobody waits for another; where it is busy those do that follow others."""
    assert run(batches_of_calls(2, 1, 1, 1, busy=False)) == [2, 1, 1, 1]
    assert run(batches_of_calls(2, 1, 1, 1, busy=True)) == [2, 3]


def test_a_caller_who_is_alone_waits_for_nobody() -> None:
    """However busy the process is with others: who shared no append would wait in vain."""
    assert run(batches_of_calls(1, 1, 1, busy=True)) == [1, 1, 1]


def test_many_commands_wait_for_no_more() -> None:
    """A batch whose commands cost more than its append goes at once."""
    assert run(batches_of_calls(2, FEW_ENTRIES, 1, busy=True)) == [2, FEW_ENTRIES, 1]
