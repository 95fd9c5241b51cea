"""One run from one seed: everybody acts, misfortune strikes, it heals, and what happened is judged."""

import asyncio
import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from unittest import mock

import structlog

from bennu.log.memory import NO_FAULTS
from bennu.testing.loop import run
from tests.simulation.clients import Client, bank_command, new_id
from tests.simulation.invariants import Judgement, judge
from tests.simulation.operator import LATE_MS, PAUSES_S, Operator
from tests.simulation.process import Process
from tests.simulation.said import command_of
from tests.simulation.truth import Violation, require
from tests.simulation.world import ACCOUNTS, SLOTS, World
from tests.simulation.writers import NumberedWriter, PlainWriter

RUN_S = (4.0, 8.0, 16.0)
HEALED_WITHIN_S = 10.0


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
    with _chance_from(seed), structlog.testing.capture_logs():
        return run(_life(seed), advance_s=3600)


@contextmanager
def _chance_from(seed: int) -> Iterator[None]:
    """The kernel's jitter, terms and random bytes, from the seed too."""
    chance = random.Random(seed ^ 0x5EED)
    with (
        mock.patch.object(random, "random", chance.random),
        mock.patch.object(secrets, "randbits", chance.getrandbits),
    ):
        yield


async def _life(seed: int) -> Outcome:
    world = World(seed)
    violation = ""
    try:
        await _misfortune(world)
        await _heal(world)
    except Violation as found:
        violation = str(found)
    finally:
        for slot in range(SLOTS):
            world.kill(slot)
        for process in world.lives:
            await process.gone()
    epochs = sum(body.count(b"node-") for number in range(world.partitions) for body in world.journal(number))
    history = world.history
    return Outcome(seed, violation, history.trace_digest(), history.trace, len(history.told), epochs)


async def _misfortune(world: World) -> None:
    until_s = world.random.choice(RUN_S)
    async with asyncio.TaskGroup() as group:
        group.create_task(Operator(world).run(until_s))
        for number in range(3):
            group.create_task(Client(world, f"c{number}").run(until_s))
        for number in range(world.partitions):
            group.create_task(NumberedWriter(world, number).run(until_s))
            group.create_task(PlainWriter(world, number).run(until_s))
        group.create_task(_calm(world, until_s))


async def _calm(world: World, until_s: float) -> None:
    """The broker heals a little before the others stop, for the writers insist on a receipt."""
    await asyncio.sleep(until_s)
    while world.broker.faults is not NO_FAULTS:
        world.broker.faults = NO_FAULTS
        await asyncio.sleep(1.0)


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
    judge(world)
    for number in range(world.partitions):
        Judgement(world, number).command_log()


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


async def _everything_again(world: World, process: Process) -> None:
    """I3: each command of a client once more; nothing may be left without a definite answer."""
    for command in list({told.command.key: told.command for told in world.history.told}.values()):
        replies = await world.ask(process, [command])
        require(
            replies is not None and replies[0][0] != 14, "I11", f"healed, but {command.command_id} was told {replies}"
        )
    for account in ACCOUNTS:
        await world.read(process, account, linearizable=True)
