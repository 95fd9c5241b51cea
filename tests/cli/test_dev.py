"""`bennu dev`: everything up, everything shown, everything gone."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import grpc
import pytest

from bank.checks import Connection
from bank.clients import clients
from bank.v1.bank_pb2_grpc import BankStub
from bank.v1.commands_pb2 import Deposit, OpenAccount, Transfer
from bank.v1.queries_pb2 import AccountView, GetAccount
from bennu.stack.ports import HOST
from tests.cli.running import Running, folder_for_all, running
from tests.cli.shell import run
from tests.stack.processes import alive, until

pytestmark = pytest.mark.real

SETTLE_TIMEOUT_S = 60
POLL_S = 0.05
SERVICES = ("bennu_cserver", "bennu_saga", "bennu_qserver", "postgres")
ON_A_FREE_PORT = ("--dir", "data", "--grpc", f"{HOST}:0", "--admin", f"{HOST}:0")


class Up(NamedTuple):
    """A running `bennu dev --json` and what it said."""

    command: Running
    folder: Path
    ready: dict[str, Any]


@pytest.fixture(scope="module")
def dev() -> Iterator[Up]:
    """For tests that leave it as it is."""
    with folder_for_all() as folder, running(folder, "dev", *ON_A_FREE_PORT, "--json") as command:
        yield Up(command, folder, command.first_json())


def test_the_first_line_says_where_everything_is(dev: Up) -> None:
    """--json: ready, and all addresses, each of which answers to its name."""
    assert dev.ready["ready"] is True
    assert float(dev.ready["seconds"]) > 0
    assert dev.ready["postgres"].startswith("postgresql://")
    assert dev.ready["log"] == f"sqlite:{dev.folder / 'data' / 'log'}"
    for name in ("grpc", "admin", "cserver_ops", "saga_ops", "qserver_ops"):
        host, _, port = dev.ready[name].removeprefix("http://").rpartition(":")
        socket.create_connection((host, int(port)), timeout=10).close()


def test_every_part_runs_below_it(dev: Up) -> None:
    """So that its end can be theirs."""
    commands = " ".join(dev.command.below().values())
    assert [name for name in SERVICES if name not in commands] == []


def test_money_moves(dev: Up) -> None:
    """A typed call is answered, the saga brings the transfer to its end, and the tables show it."""
    asyncio.run(transfer(dev.ready["grpc"], dev.ready["postgres"]))


async def transfer(address: str, dsn: str) -> None:
    async with clients(address, 1, seed=1) as (client,):
        for name in ("ann", "ben"):
            await client.call(client.bank.OpenAccount, OpenAccount(account=name, currency="EUR"), f"open-{name}")
        await client.call(client.bank.Deposit, Deposit(account="ann", amount_minor=100, currency="EUR"), "deposit")
        asked = Transfer(transfer="t", source="ann", target="ben", amount_minor=40, currency="EUR")
        await client.call(client.bank.Transfer, asked, "t")
        connection = await asyncpg.connect(dsn, timeout=10)
        try:
            async with asyncio.timeout(SETTLE_TIMEOUT_S):
                while await balances(connection) != {"ann": 60, "ben": 40}:  # noqa: ASYNC110  others are at work
                    await asyncio.sleep(POLL_S)
        finally:
            await connection.close()


async def balances(connection: Connection) -> dict[str, int]:
    """What the table shows of the two."""
    rows = await connection.fetch("SELECT account, balance_minor FROM bank.accounts WHERE account IN ('ann', 'ben')")
    return {row["account"]: row["balance_minor"] for row in rows}


def test_a_folder_has_one_owner(dev: Up) -> None:
    """A second one in the same folder is refused, says what to do, and leaves the first alone."""
    second = run(["dev", *ON_A_FREE_PORT, "--json"], folder=dev.folder)
    assert (second.code, second.out) == (78, "")
    assert "is up already" in second.error
    assert "use another --dir" in second.error
    assert dev.command.process.poll() is None


def test_a_port_in_use_is_refused_before_anything_starts(dev: Up) -> None:
    """The address, the reason, and what to do; no data folder is begun."""
    second = run(["dev", "--dir", "other", "--grpc", dev.ready["grpc"], "--json"], folder=dev.folder)
    assert (second.code, second.out) == (78, "")
    assert second.error == (
        f"grpc: can't listen on {dev.ready['grpc']}: it is in use.  Stop what listens there, or name another address: "
        "--grpc 127.0.0.1:0 takes a free port"
    )
    assert not (dev.folder / "other" / "postgres").exists()


@pytest.mark.parametrize("grpc", ["50051", "localhost", "[::1", "127.0.0.1:65536", "127.0.0.1:x"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, grpc: str) -> None:
    """Before anything starts."""
    told = run(["dev", "--dir", "data", "--grpc", grpc], folder=tmp_path)
    assert (told.code, told.out) == (78, "")
    assert told.error.startswith("grpc: ")


def opened(address: str, account: str) -> AccountView:
    """An account, by the plain stub that a newcomer uses."""
    with grpc.insecure_channel(address) as channel:
        BankStub(channel).OpenAccount(OpenAccount(account=account, owner="Ann", currency="EUR"), timeout=30)
    return seen(address, account)


def seen(address: str, account: str) -> AccountView:
    """The account as it is now."""
    with grpc.insecure_channel(address) as channel:
        found: AccountView = BankStub(channel).GetAccount(GetAccount(account=account), timeout=30)
    return found


def test_it_ends_at_ctrl_c_and_goes_on_where_it_was() -> None:
    """Ctrl-C: exit code 0 and nothing left.  The next one finds the data; kill -9 of it leaves nothing either."""
    with folder_for_all() as folder:
        with running(folder, "dev", *ON_A_FREE_PORT, "--json") as first:
            account = opened(first.first_json()["grpc"], "alice")
            started = first.below()
            first.interrupt()
            assert first.wait() == 0
            assert [command for pid, command in started.items() if alive(pid)] == []
            assert first.errors().endswith("stopped\n")
        with running(folder, "dev", *ON_A_FREE_PORT) as second:
            shown = second.read_until("Ctrl-C stops everything.")
            address = next(line.split()[1] for line in shown if line.strip().startswith("grpc "))
            assert seen(address, "alice") == account
            check_examples("\n".join(shown), address)
            started = second.below()
            second.process.kill()
            until(lambda: not any(map(alive, started)))


def check_examples(shown: str, address: str) -> None:
    """What a person may paste names this very address."""
    assert f'with grpc.insecure_channel("{address}") as channel:' in shown
    assert "stub.OpenAccount(OpenAccount(account='alice'" in shown
    assert f"{address} bank.v1.Bank/OpenAccount" in shown
    assert "psql postgresql://" in shown
    assert "TABLE bank.accounts" in shown


def test_ctrl_c_while_it_starts_leaves_nothing() -> None:
    """A start that is interrupted is undone: 130, as of any command that did not get to its end."""
    with folder_for_all() as folder, running(folder, "dev", *ON_A_FREE_PORT, "--json") as command:
        until(lambda: any("bennu_cserver" in line for line in command.below().values()), timeout_s=60)
        started = command.below()
        command.interrupt()
        assert command.wait() == 130
        assert list(command.lines()) == []
        assert [line for pid, line in started.items() if alive(pid)] == []


def test_a_part_that_ends_ends_all() -> None:
    """Half a suite would mislead: the message names what has ended, the exit code is 1, and nothing is left."""
    with folder_for_all() as folder, running(folder, "dev", *ON_A_FREE_PORT, "--json") as command:
        command.first_json()
        started = command.below()
        victim = next(pid for pid, line in started.items() if "-m bennu_saga" in line and "guard.py" not in line)
        os.kill(victim, signal.SIGKILL)
        assert command.wait() == 1
        assert "saga has ended, so everything is stopped" in command.errors()
        assert [line for pid, line in started.items() if alive(pid)] == []


def test_settings_that_the_data_refuses_are_told() -> None:
    """A service's own reason reaches the person who started it all, and nothing is left running."""
    with folder_for_all() as folder:
        with running(folder, "dev", *ON_A_FREE_PORT, "--json") as first:
            first.first_json()
            first.interrupt()
            assert first.wait() == 0
        with running(folder, "dev", *ON_A_FREE_PORT, "--json", "--partitions", "2") as second:
            assert list(second.lines()) == []
            assert second.wait() == 1
            assert "partitions" in second.errors()
            assert '{"error"' not in second.errors()


def test_what_an_app_has_no_use_for_is_not_started(tmp_path: Path) -> None:
    """One with neither sagas nor projections is a CServer, and no place is named where nobody is."""
    with running(tmp_path, "dev", *ON_A_FREE_PORT, "--json", "--app", "travel.hotel.app:app") as command:
        found = command.first_json()
        assert sorted(found) == ["cserver_ops", "grpc", "log", "postgres", "ready", "seconds"]
