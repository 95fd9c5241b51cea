"""The ids of sagas' commands are theirs: nobody can answer for one by being there first."""

import re
from itertools import chain

from bank.v1.commands_pb2 import Deposit
from bennu.log.memory import MemoryLog
from bennu.v1.command_pb2 import CommandBatch
from bennu.wire.partitioning import partition_of
from bennu_saga.issuing import command_id_of
from bennu_saga.moves import Move
from bennu_saga.state import FORWARD
from tests.saga.world import PARTITIONS, START_MINOR, World, issued, simulated
from tests.simulation.said import command_of

SEED = 20261125
INVALID_ARGUMENT = 3


def stolen(world: World) -> str:
    """The id that the withdrawal of the next transfer `t` will have, as anybody can work it out from the journal."""
    number = partition_of("t", PARTITIONS)
    state = world.cserver.members[number].partition
    assert state is not None
    return f"saga:TransferSaga:t:{number}-{state.replica.position.next_seq}:0f"


async def thief(world: World) -> None:
    """A client and a writer of the command log use the id before the saga does."""
    await world.accounts("a", "b")
    command_id = stolen(world)
    deposit = Deposit(account="a", amount_minor=1, currency="EUR")
    ((code, _),) = await world.cserver.execute([command_of(command_id, deposit)])
    assert code == INVALID_ARGUMENT
    record = CommandBatch(
        format_version=1,
        types=["bank.v1.Deposit"],
        type_indexes=[0],
        payloads=[deposit.SerializeToString()],
        command_ids=[command_id],
    )
    topic = f"bank-commands-{partition_of('a', PARTITIONS)}"
    await MemoryLog(world.broker).append(topic, record.SerializeToString())
    await world.transfer("t", "a", "b", amount_minor=START_MINOR)
    await world.until(lambda: world.ended("t"))
    assert world.happened()["t", "bank.v1.TransferCompleted"] == 1
    assert world.saga_records()["SagaTimerFired"] == {}
    journals = [issued(world.broker, f"bank-saga-{number}") for number in range(PARTITIONS)]
    assert command_id in {command.command_id for command in chain(*journals)}


def test_nobody_answers_for_a_sagas_command() -> None:
    """A client that uses such an id is refused, a record of the log is journaled as refused under its own place."""
    simulated(SEED, thief)


def test_a_sagas_command_id_has_no_control_characters() -> None:
    """CServer takes no such id, so a key that has some stands in it as a digest."""
    found = command_id_of("TransferSaga:t\0\n", "0-1", Move(FORWARD))
    assert re.fullmatch("saga:[0-9a-f]{24}:0-1:0f", found)
