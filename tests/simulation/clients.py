"""Clients: they ask, repeat what they did not hear of, reuse ids wrongly, and read."""

import asyncio
from collections.abc import Coroutine
from math import inf
from random import Random

from google.protobuf.message import Message

from bank.v1.commands_pb2 import Deposit, FreezeAccount, OpenAccount, Transfer, UnfreezeAccount, Withdraw
from bennu.testing.clock import START_US
from bennu_cserver.submission import Caller
from tests.simulation.network import Network
from tests.simulation.said import Command, command_of
from tests.simulation.world import ACCOUNTS, UNBOUNDED, World

DEADLINE_EXCEEDED, UNAVAILABLE = 4, 14
HURRIES_S = (0.02, 0.3, 2.0, inf)


def uuid7(random: Random, now_s: float) -> str:
    """As a client would make it: by its own clock, which is a little wrong."""
    made_ms = START_US // 1000 + int(now_s * 1000) + random.randrange(-200, 200)
    bits = made_ms << 80 | 7 << 76 | random.getrandbits(12) << 64 | 2 << 62 | random.getrandbits(62)
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def new_id(world: World, prefix: str) -> str:
    """Any text where all replies are kept; where they are not, only a UUIDv7 is exact."""
    if world.window_count < UNBOUNDED or world.random.random() < 0.3:
        return uuid7(world.random, world.loop.time())
    return f"{prefix}-{world.random.getrandbits(40):x}"


def bank_command(random: Random, account: str) -> Message:
    """Small amounts, so that many are refused."""
    amount = random.randrange(1, 50)
    makers = (
        (14, lambda: OpenAccount(account=account, owner="o", currency="EUR", limit_minor=random.choice((0, 100)))),
        (36, lambda: Deposit(account=account, amount_minor=amount, currency="EUR")),
        (36, lambda: Withdraw(account=account, amount_minor=amount, currency=random.choice(("EUR", "EUR", "USD")))),
        (3, lambda: FreezeAccount(account=account)),
        (11, lambda: UnfreezeAccount(account=account)),
    )
    make = random.choices([maker for _, maker in makers], [weight for weight, _ in makers])[0]
    return make()


def transfer_from(random: Random, account: str) -> Transfer:
    """Some have no money, an account that was never opened, or a name that was used before."""
    return Transfer(
        transfer=f"t{random.randrange(40)}",
        source=account,
        target=random.choice(ACCOUNTS),
        amount_minor=random.randrange(1, 30),
        currency="EUR",
    )


class Client:
    """Asks until `until_s`, with everything in flight one after another."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._network = Network(world)
        self._random = world.random
        self.name = name
        self._hurry_s = world.random.choice(HURRIES_S)
        """What is not decided so long after it was asked is not to be decided any more."""
        self._sent: list[Command] = []

    async def run(self, until_s: float) -> None:
        for account in ACCOUNTS:
            if self._random.random() < 0.3:
                asked = OpenAccount(account=account, owner=self.name, currency="EUR")
                await self._insist([command_of(new_id(self._world, self.name), asked)])
        while self._world.loop.time() < until_s:
            await asyncio.sleep(self._random.random() * 0.4)
            process = self._world.somebody()
            dice = self._random.random()
            if process is None or process.dead:
                continue
            if dice < 0.1 and self._sent:
                await self._repeat(self._random.choice(self._sent))
            elif dice < 0.16 and self._sent:
                await self._reuse(self._random.choice(self._sent))
            else:
                await self._insist(self._new())

    def _new(self) -> list[Command]:
        """A frame for one account, or a transfer to be requested."""
        account = self._random.choice(ACCOUNTS)
        if self._random.random() < (0.4 if self._world.definitions else 0.1):
            return [command_of(new_id(self._world, self.name), transfer_from(self._random, account))]
        count = self._random.choice((1, 1, 1, 2, 5))
        return [command_of(new_id(self._world, self.name), bank_command(self._random, account)) for _ in range(count)]

    async def _insist(self, commands: list[Command]) -> None:
        """Repeat with the same ids, also elsewhere, while the outcome is unknown; give up after a while."""
        self._sent += commands
        for _ in range(self._random.randrange(1, 7)):
            process = self._world.somebody()
            if process is not None:
                caller = Caller(self.name, self._world.loop.time() + self._hurry_s)
                replies = await self._network.ask(process, commands, caller)
                if replies and all(code not in (UNAVAILABLE, DEADLINE_EXCEEDED) for code, _ in replies):
                    return
            await asyncio.sleep(self._random.random())

    async def _repeat(self, command: Command) -> None:
        await self._insist([command])

    async def _reuse(self, command: Command) -> None:
        """The id of one command for another one, of the same partition."""
        account = str(getattr(command.message, "account", ACCOUNTS[0]))
        other = command_of(command.command_id, bank_command(self._random, account))
        process = self._world.somebody()
        if process is not None:
            await self._network.ask(process, [other])


class Reader:
    """Asks for statements and does not wait for them, of one that does not know yet that it was deposed if it can."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._network = Network(world)
        self._random = world.random

    async def run(self, until_s: float) -> None:
        while self._world.loop.time() < until_s:
            await asyncio.sleep(self._random.random() * 0.3)
            process = self._world.zombie() or self._world.somebody()
            if process is not None and not process.dead:
                account = self._random.choice(ACCOUNTS)
                newest = self._world.newest[self._world.partition_of(account)]
                read = self._network.read(
                    process,
                    account,
                    linearizable=self._random.random() < 0.4,
                    batch_no=self._random.choice((0, newest)),
                )
                self._world.background(self._forget(read))

    @staticmethod
    async def _forget(read: Coroutine[None, None, object]) -> None:
        await read
