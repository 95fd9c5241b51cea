"""`bennu reconcile` as a command: its exit codes, and its last line."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shell import Ended, run
from tests.qserver.serving import bank_world, connected, is_ready, qserver, started, until

pytestmark = pytest.mark.real

EQUAL, DIFFERENT, NOT_COMPARED = 0, 1, 75


class Asked:
    """The command, in a folder that has a log."""

    def __init__(self, folder: Path, dsn: str) -> None:
        self._folder, self._environ = folder, {"BENNU_POSTGRES": dsn}

    async def __call__(self, *more: str, log: str = "log", environ: Mapping[str, str] | None = None) -> Ended:
        """What it says about the bank."""
        arguments = ["reconcile", *more, "--app", "bank.app:app", "--log", f"sqlite:{self._folder / log}", "--json"]
        return await asyncio.to_thread(run, arguments, folder=self._folder, environ=self._environ | dict(environ or {}))


def last(ended: Ended) -> dict[str, Any]:
    """The result."""
    found: dict[str, Any] = json.loads(ended.out.splitlines()[-1])
    return found


async def asked(folder: Path, dsn: str) -> None:
    """A bank beside a QServer that is killed at last."""
    ask = Asked(folder, dsn)
    assert (await ask()).code == NOT_COMPARED  # neither tables nor journals
    async with bank_world(folder, dsn, seed=3, partitions=2) as world, connected(dsn) as connection:
        service = qserver(folder, dsn, partitions=2)
        async with started(service):
            await world.write(50)
            await world.shown()
            await until(lambda: is_ready(service))
            equal = await ask()
            assert (equal.code, last(equal)["equal"], last(equal)["differences"]) == (EQUAL, True, 0), equal
            assert last(equal)["rows"] > 50
            assert [each["projection"] for each in last(equal)["projections"]] == ["ledger", "sagas"]
            assert last(equal)["not_compared"] == ["CServer's memory; --grpc says where a CServer is"]
            await connection.execute("UPDATE bank.accounts_g1 SET owner = 'Eve' WHERE account = 'a1-0'")
            await asyncio.to_thread(service.kill)
            await connection.execute("DELETE FROM bennu.reconciled")  # so that it is known what --status says
        wrong = await ask("ledger")
        assert (wrong.code, last(wrong)["equal"], last(wrong)["differences"]) == (DIFFERENT, False, 1)
        told = json.loads(wrong.out.splitlines()[0])["difference"]
        assert (told["kind"], told["table"], told["key"]) == ("differs", "accounts", {"account": "a1-0"})
        assert told["columns"] == {"owner": {"expected": "Zoë 😀", "found": "Eve"}}
        assert (told["partition"], told["seq"] > 0) == (1, True)
    await not_compared(ask)


async def not_compared(ask: Asked) -> None:
    """What is not there is never equal."""
    *nothing, unknown, own = await asyncio.gather(
        ask(log="another"),
        ask("--generation", "7"),
        ask(environ={"BENNU_POSTGRES": "postgresql://x@127.0.0.1:1/y"}),
        ask("sagas", "--grpc", "127.0.0.1:1"),
        ask("ledgers"),
        ask("--status"),
    )
    for ended in nothing:
        assert (ended.code, last(ended)["equal"], bool(last(ended)["problem"])) == (NOT_COMPARED, False, True), ended
    assert unknown.code == 78
    assert own.code == NOT_COMPARED
    assert "QServer has compared nothing yet" in own.err


def test_exit_codes_tell_equal_different_and_not_compared(tmp_path: Path, database: str) -> None:
    """0, 1 and 75; the last line says the same, and what was not compared."""
    asyncio.run(asked(tmp_path, database))
