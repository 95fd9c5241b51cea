"""One run from one seed: everybody acts, misfortune strikes, it heals, and what happened is judged."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import NamedTuple
from unittest import mock

import structlog

from bennu.replica import batch, fenced, leader
from bennu.testing.loop import Deadlock, run
from bennu_cserver import command_loop
from tests.simulation.clients import Client, Reader
from tests.simulation.healing import Healing
from tests.simulation.operator import Operator
from tests.simulation.spoil import spoil
from tests.simulation.truth import Violation
from tests.simulation.world import World
from tests.simulation.writers import NumberedWriter, PlainWriter

RUN_S = (4.0, 8.0, 16.0)
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
        await Healing(world).run()
        await spoil(world)
    finally:
        for process in world.lives:
            process.kill()
        for process in world.lives:
            await process.gone()


async def _misfortune(world: World) -> None:
    """The broker heals a little before the others stop, for the writers insist on a receipt."""
    until_s = world.random.choice(RUN_S)
    operator = Operator(world)
    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(Client(world, f"c{number}").run(until_s))
        group.create_task(Reader(world).run(until_s))
        for number in range(world.partitions):
            group.create_task(NumberedWriter(world, number).run(until_s))
            group.create_task(PlainWriter(world, number).run(until_s))
        await operator.run(until_s)
        operator.end_mood()
