"""Clients that move money for as long as they are told to, and remember each answer."""

import asyncio
import random
from dataclasses import dataclass, field

from bank.clients import Client, clients
from bank.v1.commands_pb2 import Deposit, FreezeAccount, OpenAccount, Transfer


@dataclass
class Load:
    """Transfers among accounts, some of which are frozen so that their transfers are compensated."""

    address: str
    seed: int
    accounts: int = 40
    acknowledged: dict[str, bytes] = field(default_factory=dict)
    """Reply of each transfer that was answered, by its id."""
    progress: asyncio.Condition = field(default_factory=asyncio.Condition)
    stopping: bool = False

    async def prepare(self) -> None:
        """Open the accounts, put money on them, freeze a few."""
        async with clients(self.address, 1, seed=self.seed) as (client,):
            for number in range(self.accounts):
                name = f"acc-{number}"
                await client.call(client.bank.OpenAccount, OpenAccount(account=name, currency="EUR"), f"open-{name}")
                deposit = Deposit(account=name, amount_minor=1_000_000, currency="EUR")
                await client.call(client.bank.Deposit, deposit, f"deposit-{name}")
                if number % 8 == 7:
                    await client.call(client.bank.FreezeAccount, FreezeAccount(account=name), f"freeze-{name}")

    async def run(self, callers: int) -> None:
        """Transfer until `stopping`; every request that was begun is repeated until it is answered."""
        async with clients(self.address, callers, seed=self.seed) as found, asyncio.TaskGroup() as group:
            for number, client in enumerate(found):
                group.create_task(self._transfer(client, number))

    async def _transfer(self, client: Client, number: int) -> None:
        chance = random.Random(f"{self.seed}-{number}")
        done = 0
        while not self.stopping:
            source, target = chance.sample(range(self.accounts), 2)
            transfer = Transfer(
                transfer=f"t-{number}-{done}",
                source=f"acc-{source}",
                target=f"acc-{target}",
                amount_minor=chance.randrange(1, 500),
                currency="EUR",
            )
            reply = await client.call(client.bank.Transfer, transfer, transfer.transfer)
            self.acknowledged[transfer.transfer] = reply.SerializeToString()
            done += 1
            async with self.progress:
                self.progress.notify_all()

    async def wait_for(self, more: int, timeout_s: float) -> None:
        """Until that many further transfers are acknowledged."""
        wanted = len(self.acknowledged) + more
        async with asyncio.timeout(timeout_s), self.progress:
            await self.progress.wait_for(lambda: len(self.acknowledged) >= wanted)
