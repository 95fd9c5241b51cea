"""Clients that move money and repeat, with the same id, whatever was not answered."""

import asyncio
import random
from dataclasses import dataclass, field

import grpc

from bank.v1 import bank_pb2_grpc
from bank.v1.commands_pb2 import Deposit, FreezeAccount, OpenAccount, Transfer

CALL_TIMEOUT_S = 5.0
RETRY_S = 0.1
UNDECIDED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED)


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
        async with grpc.aio.insecure_channel(self.address) as channel:
            bank = bank_pb2_grpc.BankStub(channel)
            for number in range(self.accounts):
                name = f"acc-{number}"
                await self._call(bank.OpenAccount, OpenAccount(account=name, currency="EUR"), f"open-{name}")
                deposit = Deposit(account=name, amount_minor=1_000_000, currency="EUR")
                await self._call(bank.Deposit, deposit, f"deposit-{name}")
                if number % 8 == 7:
                    await self._call(bank.FreezeAccount, FreezeAccount(account=name), f"freeze-{name}")

    async def run(self, clients: int) -> None:
        """Transfer until `stopping`; every request that was begun is repeated until it is answered."""
        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                group.create_task(self._client(number))

    async def _client(self, number: int) -> None:
        chance = random.Random(f"{self.seed}-{number}")
        async with grpc.aio.insecure_channel(self.address) as channel:
            bank = bank_pb2_grpc.BankStub(channel)
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
                reply = await self._call(bank.Transfer, transfer, transfer.transfer)
                self.acknowledged[transfer.transfer] = reply
                done += 1
                async with self.progress:
                    self.progress.notify_all()

    async def _call(self, method: object, request: object, command_id: str) -> bytes:
        """The reply's bytes, after as many repetitions as it takes."""
        while True:
            try:
                call = method(  # type: ignore[operator]  # a generated stub's method
                    request, metadata=(("idempotency-key", command_id),), timeout=CALL_TIMEOUT_S
                )
                reply = await call
                return bytes(reply.SerializeToString())
            except grpc.aio.AioRpcError as error:
                if error.code() not in UNDECIDED:
                    raise
                await asyncio.sleep(RETRY_S)

    async def wait_for(self, more: int, timeout_s: float) -> None:
        """Until that many further transfers are acknowledged."""
        wanted = len(self.acknowledged) + more
        async with asyncio.timeout(timeout_s), self.progress:
            await self.progress.wait_for(lambda: len(self.acknowledged) >= wanted)
