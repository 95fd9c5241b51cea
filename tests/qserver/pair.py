"""A primary and its streaming standby, as operators have them: killed, promoted, demoted."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bennu.stack.child import Child, Program
from bennu.stack.folders import temporary_folder
from bennu.stack.ports import free_port
from bennu.stack.postgres import Postgres, PostgresServer, server_command
from bennu.stack.unprivileged import postgres_account, reachable_install
from tests.qserver.serving import connected, until

READ_ONLY = "ready to accept read-only connections"
COPY_TIMEOUT_S = 60
LEVEL = "SELECT count(*) = 1 AND bool_and(replay_lsn = pg_current_wal_lsn()) FROM pg_stat_replication"


class Node:
    """One server, whatever it is at the time."""

    def __init__(self, server: Child, dsn: str) -> None:
        self.server, self.dsn = server, dsn

    async def execute(self, *statements: str) -> None:
        """Each in a transaction of its own."""
        async with connected(self.dsn) as connection:
            for statement in statements:
                await connection.execute(statement)

    async def pids(self) -> list[int]:
        """Of the server and all its sessions."""
        async with connected(self.dsn) as connection:
            rows = await connection.fetch("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        return [self.server.pid, *(row["pid"] for row in rows)]

    async def demote_in_place(self) -> None:
        """It keeps its sessions, and takes no writes any more."""
        await self.execute("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")

    async def promote(self) -> None:
        """It takes writes."""
        await self.execute("SELECT pg_promote(true, 60)")


class Pair:
    """Both, and the URL that names the two."""

    def __init__(self, first: Postgres, standby: Node, *, opened: AsyncExitStack) -> None:
        self.primary, self.standby = Node(first.server, first.dsn), standby
        self._primary_data = first.folder / "cluster" / "data"
        self._opened = opened

    @property
    def dsn(self) -> str:
        """The first host is the one that is primary at first."""
        return f"{self.primary.dsn.removesuffix('/postgres')},127.0.0.1:{urlsplit(self.standby.dsn).port}/postgres"

    async def level(self) -> None:
        """Wait until the standby has all that the primary has."""
        async with connected(self.primary.dsn) as connection:
            await until(lambda: connection.fetchval(LEVEL))

    async def come_back_as_standby(self) -> None:
        """The old primary, which was killed, reads only; that it follows nobody makes no difference here."""
        signal = self._primary_data / "standby.signal"
        await asyncio.to_thread(signal.touch)
        again = _standby(self._primary_data, urlsplit(self.primary.dsn).port or 0)
        self._opened.callback(again.kill)
        await asyncio.to_thread(again.start)


def _standby(data: Path, port: int) -> PostgresServer:
    account = postgres_account()
    command = server_command(reachable_install(account), data, port=port)
    return PostgresServer(
        Program("postgres", command, READ_ONLY, account.uid, account.gid), data.parent.parent / "again.out", data=data
    )


def _copy(primary: Postgres, data: Path) -> None:
    """As `pg_basebackup` does it, with the settings of a standby."""
    account = postgres_account()
    data.parent.mkdir(parents=True)
    data.parent.parent.chmod(0o711)
    os.chown(data.parent, account.uid, account.gid)
    program = reachable_install(account) / "bin" / "pg_basebackup"
    other = account.uid != os.getuid()
    subprocess.run(
        [program, "-D", data, "-R", "-X", "stream", "-c", "fast", "-d", primary.dsn],
        user=account.uid if other else None,
        group=account.gid if other else None,
        extra_groups=[] if other else None,
        cwd="/",
        timeout=COPY_TIMEOUT_S,
        check=True,
    )


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    """Both serve inside the block."""
    async with AsyncExitStack() as opened:
        folder = opened.enter_context(temporary_folder("bennu-pair-"))
        primary = await opened.enter_async_context(Postgres(folder / "one"))
        data, port = folder / "two" / "cluster" / "data", free_port()
        await asyncio.to_thread(_copy, primary, data)
        standby = _standby(data, port)
        opened.callback(standby.kill)
        await asyncio.to_thread(standby.start)
        user = urlsplit(primary.dsn).netloc.rpartition("@")[0]
        other = Node(standby, f"postgresql://{user}@127.0.0.1:{port}/postgres")
        yield Pair(primary, other, opened=opened)
