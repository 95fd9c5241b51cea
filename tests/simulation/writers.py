"""Who writes to the command logs: sagas with numbered streams, clients without numbers, and vandals."""

import asyncio

from google.protobuf.message import Message

from bank.v1.commands_pb2 import Deposit, ReverseWithdrawal, WithdrawForTransfer
from bennu.errors import AppendRefused, AppendUnknown
from bennu.v1.command_pb2 import CommandBatch, Origin
from tests.simulation.clients import bank_command, new_id
from tests.simulation.logs import ProcessLog
from tests.simulation.said import Command, command_of, other_saga
from tests.simulation.world import ACCOUNTS, World


def record_of(commands: list[Command], *, source: str = "", first_no: int = 0) -> bytes:
    """A record of a command log."""
    types = sorted({command.type_name for command in commands})
    batch = CommandBatch(
        format_version=1,
        source=source,
        first_no=first_no,
        types=types,
        command_ids=[command.command_id for command in commands],
        type_indexes=[types.index(command.type_name) for command in commands],
        payloads=[command.payload for command in commands],
        origins=[Origin(actor=source or "writer")],
    )
    if any(command.compensates for command in commands):
        batch.compensates.extend(command.compensates for command in commands)
    return batch.SerializeToString()


class NumberedWriter:
    """The outbox of another saga: numbered commands, one record in flight, the same bytes until there is a receipt.

    Now and then a sender of an earlier life sends something old again.
    """

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self._number = number
        self._topic = world.commands_topic(number)
        self._log = ProcessLog(world.broker, world.random)
        self.source = other_saga(number)
        self.commands: list[Command] = []
        self._records: list[bytes] = []
        self._withdrawals: list[Command] = []

    async def run(self, until_s: float) -> None:
        while self._world.loop.time() < until_s:
            await asyncio.sleep(self._world.random.random() * 1.5)
            first_no = len(self.commands) + 1
            fresh = [self._next(first_no + i) for i in range(self._world.random.choice((1, 1, 2, 3)))]
            self.commands += fresh
            self._records.append(record_of(fresh, source=self.source, first_no=first_no))
            await self._until_receipt(self._records[-1])

    def _next(self, number: int) -> Command:
        random, command_id = self._world.random, f"{self.source}/{number}"
        if self._withdrawals and random.random() < 0.4:
            undone = self._withdrawals.pop(random.randrange(len(self._withdrawals)))
            forward = undone.message
            assert isinstance(forward, WithdrawForTransfer)
            command = self._addressed(
                command_id,
                ReverseWithdrawal(
                    account=forward.account,
                    transfer=forward.transfer,
                    amount_minor=forward.amount_minor,
                    currency="EUR",
                ),
                compensates=undone.command_id,
            )
        else:
            account, amount = random.choice(ACCOUNTS), random.randrange(1, 30)
            command = self._addressed(
                command_id,
                WithdrawForTransfer(account=account, transfer=f"w{number}", amount_minor=amount, currency="EUR"),
            )
            self._withdrawals.append(command)
        return self._world.history.attempt(command)

    def _addressed(self, command_id: str, message: Message, *, compensates: str = "") -> Command:
        astray = self._world.partition_of(str(getattr(message, "account"))) != self._number  # noqa: B009
        made = command_of(command_id, message)
        return Command(command_id, made.type_name, made.payload, "wrong_partition" if astray else "", compensates)

    async def _until_receipt(self, record: bytes) -> None:
        while True:
            if self._world.random.random() < 0.2:
                self._zombie(self._world.random.choice(self._records))
            try:
                await self._log.append(self._topic, record)
            except (AppendRefused, AppendUnknown):
                await asyncio.sleep(0.05)
            else:
                return

    def _zombie(self, record: bytes) -> None:
        self._world.background(self._once(record))

    async def _once(self, record: bytes) -> None:
        try:
            await self._log.append(self._topic, record)
        except (AppendRefused, AppendUnknown):
            return


class PlainWriter:
    """Records without numbers: with ids, without, with ids of others' commands; and what is no command at all."""

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self._topic = world.commands_topic(number)
        self._log = ProcessLog(world.broker, world.random)

    async def run(self, until_s: float) -> None:
        while self._world.loop.time() < until_s:
            await asyncio.sleep(self._world.random.random() * 2.5)
            record = self._garbage() if self._world.random.random() < 0.3 else self._record()
            try:
                await self._log.append(self._topic, record)
            except (AppendRefused, AppendUnknown):
                continue

    def _record(self) -> bytes:
        random = self._world.random
        commands = [self._command() for _ in range(random.choice((1, 2, 4)))]
        return record_of(commands)

    def _command(self) -> Command:
        random, dice = self._world.random, self._world.random.random()
        made = command_of("", bank_command(random, random.choice(ACCOUNTS)))
        if dice < 0.4:
            return made
        if dice < 0.5:
            return command_of("", Deposit(account=ACCOUNTS[0], amount_minor=0, currency="EUR"))
        if dice < 0.6:
            return Command("", "no.such.Command", b"\x08\x01")
        if dice < 0.7 and self._world.history.told:
            return random.choice(self._world.history.told).command
        return Command(new_id(self._world, "log"), made.type_name, made.payload)

    def _garbage(self) -> bytes:
        random = self._world.random
        return random.choice(
            (
                random.randbytes(random.randrange(1, 40)),
                CommandBatch(format_version=99, payloads=[b"x"]).SerializeToString(),
                CommandBatch(format_version=1).SerializeToString(),
                CommandBatch(format_version=1, types=["t"], type_indexes=[5], payloads=[b"x"]).SerializeToString(),
                CommandBatch(
                    format_version=1, source="s", types=["t"], type_indexes=[0], payloads=[b""]
                ).SerializeToString(),
            )
        )
