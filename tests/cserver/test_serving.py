"""A real CServer process on the embedded log, called with ordinary generated stubs."""

import asyncio
import os
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message

from bank.v1 import bank_pb2_grpc
from bank.v1.commands_pb2 import Deposit, OpenAccount, Transfer, Withdraw
from bank.v1.queries_pb2 import GetAccount
from bennu.stack.ports import free_port
from tests.e2e.cluster import Service

START_TIMEOUT_S = 60
OPEN = OpenAccount(account="a", currency="EUR")
DEPOSIT = Deposit(account="a", amount_minor=500, currency="EUR")


def server(directory: Path, port: int) -> Service:
    """A CServer of two partitions."""
    flags = ["--app", "bank.app:app", "--log", f"sqlite:{directory / 'log'}", "--partitions", "2"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("BENNU_")}
    return Service("cserver", [*flags, "--grpc", f"127.0.0.1:{port}"], directory=directory, environ=environ)


async def ask(bank: "bank_pb2_grpc.BankAsyncStub", method: str, request: Message, command_id: str = "") -> Message:
    """One call, repeated with the same id while the outcome is unknown."""
    metadata = (("idempotency-key", command_id),) if command_id else ()
    async with asyncio.timeout(START_TIMEOUT_S):
        while True:
            try:
                answer: Message = await getattr(bank, method)(request, metadata=metadata, timeout=5)
                return answer
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                await asyncio.sleep(0.05)


async def code_of(bank: "bank_pb2_grpc.BankAsyncStub", method: str, request: Message, command_id: str = "") -> str:
    """The name of the error code that the call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(bank, method, request, command_id)
    return caught.value.code().name


async def killed_and_repeated(directory: Path) -> None:
    """The scenario of the first test."""
    port = free_port()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        bank: bank_pb2_grpc.BankAsyncStub = bank_pb2_grpc.BankStub(channel)
        cserver = server(directory, port)
        await cserver.start()
        await ask(bank, "OpenAccount", OPEN, "open")
        first = await ask(bank, "Deposit", DEPOSIT, "deposit")
        await ask(bank, "Deposit", DEPOSIT, "another")
        cserver.kill()
        await cserver.start()
        assert await ask(bank, "Deposit", DEPOSIT, "deposit") == first
        view = await ask(bank, "GetAccount", GetAccount(account="a"))
        assert view.balance_minor == 1000  # type: ignore[attr-defined]  # a view, whose class the stub knows
        assert await code_of(bank, "Withdraw", Withdraw(account="a", amount_minor=1, currency="EUR"), "deposit") == (
            "ALREADY_EXISTS"
        )
        assert cserver.stop() == 0


async def refusals(directory: Path) -> None:
    """The scenario of the second test."""
    port = free_port()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        bank: bank_pb2_grpc.BankAsyncStub = bank_pb2_grpc.BankStub(channel)
        cserver = server(directory, port)
        await cserver.start()
        await ask(bank, "OpenAccount", OPEN)
        for amount in (0, -1, 10**16):
            wrong = Deposit(account="a", amount_minor=amount, currency="EUR")
            assert await code_of(bank, "Deposit", wrong) == "INVALID_ARGUMENT"
        for name in ("", "x" * 10_000):
            assert await code_of(bank, "OpenAccount", OpenAccount(account=name, currency="EUR")) == "INVALID_ARGUMENT"
        assert await code_of(bank, "Deposit", DEPOSIT, "k" * 65) == "INVALID_ARGUMENT"
        too_much = Withdraw(account="a", amount_minor=1, currency="EUR")
        assert await code_of(bank, "Withdraw", too_much) == "FAILED_PRECONDITION"
        same = Transfer(transfer="t", source="a", target="a", amount_minor=1, currency="EUR")
        assert await code_of(bank, "Transfer", same) == "FAILED_PRECONDITION"
        assert cserver.stop() == 0


def test_a_killed_server_gives_the_same_answers(tmp_path: Path) -> None:
    """After kill -9 the same id gets the original reply, its effect stands once, and another payload is refused."""
    asyncio.run(asyncio.wait_for(killed_and_repeated(tmp_path), 3 * START_TIMEOUT_S))


def test_what_is_refused_says_so(tmp_path: Path) -> None:
    """Malformed commands are INVALID_ARGUMENT before deciding; business refusals are FAILED_PRECONDITION."""
    asyncio.run(asyncio.wait_for(refusals(tmp_path), 3 * START_TIMEOUT_S))
