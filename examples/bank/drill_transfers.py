"""Transfers for as long as the bank lives, and what was answered: for a drill that ends it at a bad moment."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from bank import scenario
from bank.clients import Client, clients, share_out
from bank.v1.commands_pb2 import Transfer

BATCH = 10_000
"""Transfers are made so many at a time, each time from another seed."""


@dataclass
class Transfers:
    """Concurrent callers; a request that was begun is repeated until it is answered, or all is cancelled."""

    seed: int
    accounts: int
    callers: int
    answered: dict[str, tuple[Transfer, bytes]] = field(default_factory=dict)
    """Request and reply of each transfer that was answered, by its id."""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def open(self, address: str) -> None:
        """Open the accounts and put money on them."""

        async def make(client: Client, account: scenario.Account) -> None:
            for method, command in account.commands():
                await client.call(getattr(client.bank, method), command, f"{account.name}/{method}")

        async with clients(address, self.callers, seed=self.seed) as found:
            await share_out(found, scenario.accounts(self.accounts), make)

    async def run(self, address: str) -> None:
        """Transfer for ever; cancel it."""
        among = scenario.accounts(self.accounts)
        async with clients(address, self.callers, seed=self.seed) as found:
            for number in count():
                await share_out(found, scenario.transfers(among, BATCH, seed=self.seed + number), self._transfer)

    async def _transfer(self, client: Client, transfer: Transfer) -> None:
        reply = await client.call(client.bank.Transfer, transfer, transfer.transfer)
        self.answered[transfer.transfer] = transfer, reply.SerializeToString()
        self._changed.set()

    async def until(self, wanted: int) -> None:
        """Return once so many are answered."""
        while len(self.answered) < wanted:
            self._changed.clear()
            await self._changed.wait()

    async def repeat(self, address: str, which: Callable[[str], bool]) -> list[str]:
        """Ask again, with the ids as before, for those chosen; the ids that got another answer than at first."""
        wrong: list[str] = []

        async def again(client: Client, asked: tuple[Transfer, bytes]) -> None:
            transfer, reply = asked
            answer = await client.call(client.bank.Transfer, transfer, transfer.transfer)
            if answer.SerializeToString() != reply:
                wrong.append(transfer.transfer)

        async with clients(address, self.callers, seed=self.seed) as found:
            await share_out(found, [asked for name, asked in self.answered.items() if which(name)], again)
        return wrong
