"""Real CServer and Saga processes on the embedded log: transfers are asked for, carried out, and undone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import grpc
from google.protobuf.message import Message

from bank.transfer import SCREENED_FROM_MINOR, fee_of
from bank.v1 import bank_pb2_grpc
from bank.v1.commands_pb2 import (
    BlockPayee,
    CloseAccount,
    Deposit,
    FreezeAccount,
    OpenAccount,
    Transfer,
    UnblockPayee,
)
from bank.v1.queries_pb2 import AccountView, GetAccount, GetStatement, GetTransfer, StatementView, TransferView
from bank.v1.types_pb2 import TransferStatus
from bennu.stack.ports import free_port
from bennu.stack.service import clean_environ
from tests.service_process import Service

PATIENCE_S = 60
COMPLETED, FAILED = TransferStatus.TRANSFER_STATUS_COMPLETED, TransferStatus.TRANSFER_STATUS_FAILED
ENDED = (COMPLETED, FAILED)
START_MINOR = 10_000
LARGE_MINOR = SCREENED_FROM_MINOR


class Bank(NamedTuple):
    """The two processes and a client."""

    cserver: Service
    saga: Service
    stub: "bank_pb2_grpc.BankAsyncStub"

    async def ask(self, method: str, request: Message) -> Message:
        """One call, repeated with the same id while the outcome is unknown."""
        metadata = (("idempotency-key", f"{method}-{request.SerializeToString(deterministic=True).hex()}"[-64:]),)
        while True:
            try:
                answer: Message = await getattr(self.stub, method)(request, metadata=metadata, timeout=5)
                return answer
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                await asyncio.sleep(0.05)

    async def account(self, name: str, currency: str = "EUR", *, limit_minor: int = 0) -> None:
        """An open account with money on it."""
        await self.ask("OpenAccount", OpenAccount(account=name, currency=currency, limit_minor=limit_minor))
        await self.ask("Deposit", Deposit(account=name, amount_minor=START_MINOR, currency=currency))

    async def transfer(self, name: str, source: str, target: str, *, amount_minor: int = 100) -> None:
        """Ask for one, in EUR."""
        await self.ask(
            "Transfer",
            Transfer(transfer=name, source=source, target=target, amount_minor=amount_minor, currency="EUR"),
        )

    async def end_of(self, name: str) -> tuple[int, str]:
        """How the transfer ended, once it has."""
        while True:
            view = await self.ask("GetTransfer", GetTransfer(transfer=name))
            assert isinstance(view, TransferView)
            if view.status in ENDED:
                return view.status, view.reason
            await asyncio.sleep(0.02)  # another process is at work; there is nothing to await here

    async def balance(self, name: str) -> int:
        """In minor units."""
        view = await self.ask("GetAccount", GetAccount(account=name))
        assert isinstance(view, AccountView)
        return view.balance_minor


@asynccontextmanager
async def bank(directory: Path) -> AsyncIterator[Bank]:
    """CServer and Saga of two partitions; both are gone at the end."""
    port = free_port()
    flags = ["--app", "bank.app:app", "--log", f"sqlite:{directory / 'log'}", "--partitions", "2"]
    environ = clean_environ()
    cserver = Service("cserver", [*flags, "--grpc", f"127.0.0.1:{port}"], directory=directory, environ=environ)
    saga = Service("saga", flags, directory=directory, environ=environ)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.timeout(PATIENCE_S):
        try:
            await asyncio.gather(cserver.start(), saga.start())
            yield Bank(cserver, saga, bank_pb2_grpc.BankStub(channel))
        finally:
            cserver.kill()
            saga.kill()


async def some_accounts(of: Bank) -> None:
    """Usable ones, and one of each kind that money can't go to."""
    for name in ("a", "b", "frozen"):
        await of.account(name)
    await of.account("dollars", "USD")
    await of.account("small", limit_minor=START_MINOR)
    await of.ask("OpenAccount", OpenAccount(account="closed", currency="EUR"))
    await of.ask("CloseAccount", CloseAccount(account="closed"))
    await of.ask("FreezeAccount", FreezeAccount(account="frozen"))


REFUSED = {
    "nobody": "account_unknown",
    "closed": "account_closed",
    "frozen": "account_frozen",
    "dollars": "currency_mismatch",
    "small": "limit_exceeded",
}
"""Targets that take nothing, and the rule that says so."""


async def transfers(directory: Path) -> None:
    """The scenario of the first test."""
    async with bank(directory) as of:
        await some_accounts(of)
        await asyncio.gather(*(of.transfer(f"good-{n}", "a", "b") for n in range(20)))
        await asyncio.gather(*(of.transfer(f"to-{target}", "a", target) for target in REFUSED))
        await of.transfer("too-much", "a", "b", amount_minor=10 * START_MINOR)
        for n in range(20):
            assert await of.end_of(f"good-{n}") == (COMPLETED, "")
        for target, reason in REFUSED.items():
            assert await of.end_of(f"to-{target}") == (FAILED, reason)
        assert await of.end_of("too-much") == (FAILED, "insufficient_funds")
        assert await of.balance("a") == START_MINOR - 20 * 100
        assert await of.balance("b") == START_MINOR + 20 * 100
        assert [await of.balance(name) for name in ("frozen", "dollars", "small")] == [START_MINOR] * 3
        assert await asyncio.to_thread(of.saga.stop) == 0
        assert await asyncio.to_thread(of.cserver.stop) == 0


async def killed(directory: Path) -> None:
    """The scenario of the second test."""
    async with bank(directory) as of:
        await some_accounts(of)
        for life in range(2):
            await of.transfer(f"good-{life}-0", "a", "b")
            await of.end_of(f"good-{life}-0")
            await asyncio.gather(*(of.transfer(f"good-{life}-{n}", "a", "b") for n in range(1, 10)))
            await of.transfer(f"bad-{life}", "a", "nobody")
            await asyncio.to_thread(of.saga.kill)
            await of.saga.start()
        for life in range(2):
            assert [await of.end_of(f"good-{life}-{n}") for n in range(10)] == [(COMPLETED, "")] * 10
            assert await of.end_of(f"bad-{life}") == (FAILED, "account_unknown")
        assert await of.balance("a") == START_MINOR - 20 * 100
        assert await of.balance("b") == START_MINOR + 20 * 100


async def large_transfers(directory: Path) -> None:
    """The scenario of the third test."""
    fee_minor = fee_of(LARGE_MINOR)
    async with bank(directory) as of:
        await some_accounts(of)
        await of.ask("Deposit", Deposit(account="a", amount_minor=3 * LARGE_MINOR, currency="EUR"))
        await of.transfer("large", "a", "b", amount_minor=LARGE_MINOR)
        assert await of.end_of("large") == (COMPLETED, "")
        await of.ask("BlockPayee", BlockPayee(payee="b", reason="known for it"))
        await of.transfer("blocked", "a", "b", amount_minor=LARGE_MINOR)
        await of.transfer("to-frozen", "a", "frozen", amount_minor=LARGE_MINOR)
        await of.transfer("small", "a", "b")
        assert await of.end_of("blocked") == (FAILED, "payee_blocked")
        assert await of.end_of("to-frozen") == (FAILED, "account_frozen")
        assert await of.end_of("small") == (COMPLETED, "")
        await of.ask("UnblockPayee", UnblockPayee(payee="b", reason="it was another"))
        await of.transfer("again", "a", "b", amount_minor=LARGE_MINOR)
        assert await of.end_of("again") == (COMPLETED, "")
        assert await of.balance("a") == START_MINOR + LARGE_MINOR - 2 * fee_minor - 100
        assert await of.balance("b") == START_MINOR + 2 * LARGE_MINOR + 100
        statement = await of.ask("GetStatement", GetStatement(account="a"))
        assert isinstance(statement, StatementView)
        assert statement.fees_minor == 2 * fee_minor
        for name in ("large", "blocked"):
            view = await of.ask("GetTransfer", GetTransfer(transfer=name))
            assert isinstance(view, TransferView)
            assert view.fee_minor == fee_minor


def test_transfers_end_and_refused_ones_are_paid_back(tmp_path: Path) -> None:
    """A transfer completes, or names the rule that refused it and the money is back; SIGTERM ends both with 0."""
    asyncio.run(transfers(tmp_path))


def test_a_killed_saga_goes_on(tmp_path: Path) -> None:
    """After kill -9 under load, again and again, each transfer ends once."""
    asyncio.run(killed(tmp_path))


def test_a_large_transfer_costs_its_fee_unless_the_payee_is_blocked(tmp_path: Path) -> None:
    """One that fails costs nothing, whichever step refused it; a small one reaches a blocked payee all the same."""
    asyncio.run(large_transfers(tmp_path))
