"""One run from one seed: everybody acts, misfortune strikes, it heals, and what happened is judged."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import NamedTuple
from unittest import mock

import structlog

from bennu.log.memory import NO_FAULTS
from bennu.replica import batch, fenced, leader
from bennu.testing.loop import Deadlock, run
from bennu_cserver import command_loop
from tests.simulation.clients import Client, Reader, bank_command, new_id
from tests.simulation.invariants import Judgement, judge
from tests.simulation.operator import LATE_MS, PAUSES_S, Operator
from tests.simulation.process import Process
from tests.simulation.sagas import Transfers
from tests.simulation.said import command_of
from tests.simulation.spoil import spoil
from tests.simulation.truth import Violation, require, truth_of
from tests.simulation.world import ACCOUNTS, SLOTS, World
from tests.simulation.writers import NumberedWriter, PlainWriter

RUN_S = (4.0, 8.0, 16.0)
HEALED_WITHIN_S = 10.0
SAGAS_END_WITHIN_S = 150.0
"""A step that nobody answered is given up after a minute."""
AT_MOST_S = 600.0


class Outcome(NamedTuple):
    """What became of a run.  `violation` is empty when all held."""

    seed: int
    violation: str
    digest: str
    trace: list[str]
    commands: int
    epochs: int


def simulate(seed: int) -> Outcome:
    """Run one seed; the same seed gives the same run."""
    world: list[World] = []
    with _chance_from(seed), _limits_from(seed), structlog.testing.capture_logs():
        try:
            run(_life(seed, world), advance_s=AT_MOST_S)
        except Violation as found:
            return _outcome(seed, world[0], str(found))
        except Deadlock as found:
            return _outcome(seed, world[0], f"I11: {found}")
    return _outcome(seed, world[0], "")


@contextmanager
def _chance_from(seed: int) -> Iterator[None]:
    """The kernel's jitter and terms, from the seed too."""
    chance = random.Random(seed ^ 0x5EED)
    with (
        mock.patch.object(leader, "system_chance", return_value=chance),
        mock.patch.object(random, "random", chance.random),
    ):
        yield


@contextmanager
def _limits_from(seed: int) -> Iterator[None]:
    """Sometimes smaller than life, so that what is rare at full size happens in a short run."""
    draw = random.Random(seed ^ 0xB0DE).choice
    with (
        mock.patch.object(fenced, "RESOLVE_TIMEOUT_MS", draw((15_000, 1_500, 200))),
        mock.patch.object(leader, "DIGEST_EVERY_BATCHES", draw((64, 5, 1))),
        mock.patch.object(batch, "BATCH_ENTRIES", draw((8_192, 3))),
        mock.patch.object(command_loop, "LOG_INPUTS", draw((16, 2))),
    ):
        yield


def _outcome(seed: int, world: World, violation: str) -> Outcome:
    for topic in world.topics():
        digest = blake2b(b"".join(body or b"" for body in world.broker.records(topic)), digest_size=8).hexdigest()
        world.note(f"{topic}: {digest}")
    epochs = sum(body.count(b"node-") for number in range(world.partitions) for body in world.journal(number))
    history = world.history
    return Outcome(seed, violation, history.trace_digest(), history.trace, len(history.told), epochs)


async def _life(seed: int, made: list[World]) -> None:
    world = World(seed)
    made.append(world)
    try:
        await _misfortune(world)
        await _heal(world)
        await spoil(world)
    finally:
        for slot in range(SLOTS):
            world.kill(slot)
        for process in world.lives:
            await process.gone()


async def _misfortune(world: World) -> None:
    """The broker heals a little before the others stop, for the writers insist on a receipt."""
    until_s = world.random.choice(RUN_S)
    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(Client(world, f"c{number}").run(until_s))
        group.create_task(Reader(world).run(until_s))
        for number in range(world.partitions):
            group.create_task(NumberedWriter(world, number).run(until_s))
            group.create_task(PlainWriter(world, number).run(until_s))
        await Operator(world).run(until_s)
        world.broker.faults = NO_FAULTS


async def _heal(world: World) -> None:
    world.note("healing")
    world.broker.faults, world.lost = NO_FAULTS, 0.0
    await asyncio.sleep(max(LATE_MS / 1000, *PAUSES_S) + 1)
    judge(world)
    for slot in range(SLOTS):
        world.kill(slot)
    fresh = world.start(0)
    await _serves(world, fresh)
    for number in range(world.partitions):
        await _consumed(world, fresh, number)
    await _everything_again(world, fresh)
    await _transfers_end(world, fresh)
    judge(world)
    for number in range(world.partitions):
        Judgement(world, number).command_log()
    require(not world.unheard, "I14", f"errors that nobody heard of: {world.unheard}")


async def _serves(world: World, process: Process) -> None:
    """I11: a new command succeeds soon after all faults are gone."""
    until_s = world.loop.time() + HEALED_WITHIN_S
    while not process.leads:
        require(world.loop.time() < until_s and process.failure is None, "I11", f"nobody leads: {process.failure!r}")
        await asyncio.sleep(0.1)
    asked = [command_of(new_id(world, "healed"), bank_command(world.random, ACCOUNTS[0]))]
    replies = await world.ask(process, asked)
    require(bool(replies) and replies is not None and replies[0][0] in (0, 9), "I11", f"healed, but told {replies}")


async def _consumed(world: World, process: Process, number: int) -> None:
    until_s = world.loop.time() + HEALED_WITHIN_S
    topic = world.commands_topic(number)
    while True:
        partition = process.members[number].partition
        if partition is not None and partition.replica.state.input_offset(topic) == len(world.broker.records(topic)):
            return
        require(world.loop.time() < until_s, "I11", f"{topic} is not read to its end")
        await asyncio.sleep(0.1)


async def _transfers_end(world: World, process: Process) -> None:
    """I8: none is stuck on its way."""
    if process not in world.sagas:
        return
    until_s = world.loop.time() + SAGAS_END_WITHIN_S
    while not world.sagas[process].ended():
        require(world.loop.time() < until_s and process.failure is None, "I8", f"not all end: {process.failure!r}")
        await asyncio.sleep(0.1)
    for number in range(world.partitions):  # what a saga sent last
        await _consumed(world, process, number)
    transfers_of(world).judge()


def transfers_of(world: World) -> Transfers:
    """What all journals say of transfers."""
    sagas = [[body or b"" for body in world.broker.records(world.saga_topic(n))] for n in range(world.partitions)]
    return Transfers([truth_of(world.journal(n)) for n in range(world.partitions)], sagas)


async def _everything_again(world: World, process: Process) -> None:
    """I3: each command of a client once more; nothing may be left without a definite answer."""
    for command in list({told.command.key: told.command for told in world.history.told}.values()):
        replies = await world.ask(process, [command])
        require(
            replies is not None and replies[0][0] != 14, "I11", f"healed, but {command.command_id} was told {replies}"
        )
    for account in ACCOUNTS:
        await world.read(process, account, linearizable=True)
