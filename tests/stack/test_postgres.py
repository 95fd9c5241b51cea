"""Postgres from a wheel keeps what it acknowledged, and belongs to this process alone."""

import asyncio
import os
import stat
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import asyncpg
import pytest

from bennu.errors import BadSettings, Unavailable
from bennu.stack import unprivileged
from bennu.stack.postgres import Postgres, forget_dead_server
from bennu.stack.unprivileged import Account, can_reach, private_place, reachable_folder
from tests.stack.processes import alive, listening, until

pytestmark = pytest.mark.real
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root has to give way to another user")

T = TypeVar("T")


def query(dsn: str, ask: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    """What the server answers."""

    async def run() -> T:
        connection = await asyncpg.connect(dsn, timeout=10)
        try:
            return await ask(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


def value(dsn: str, sql: str) -> object:
    """The one value that a query gives."""
    return query(dsn, lambda connection: connection.fetchval(sql))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter; pytest's own are closed."""
    with TemporaryDirectory(prefix="bennu-test-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def test_it_is_the_release_that_was_wanted_and_durable(database: str) -> None:
    """A commit is on the disk; text is UTF-8 whatever the machine's locale; times are in UTC."""
    assert str(value(database, "SHOW server_version")).startswith(f"{unprivileged.postgres_release()}.")
    settings = ("fsync", "synchronous_commit", "full_page_writes", "server_encoding", "timezone")
    assert [value(database, f"SHOW {name}") for name in settings] == ["on", "on", "on", "UTF8", "UTC"]


def test_it_listens_on_the_loopback_address_alone(postgres: Postgres) -> None:
    """No other machine reaches it, and no socket file lies about."""
    port = postgres.dsn.rpartition(":")[2].partition("/")[0]
    assert listening(postgres.server.pid) == {f"127.0.0.1:{port}"}


def test_nobody_enters_without_the_password(postgres: Postgres) -> None:
    """Another user of the machine reaches the port but not the data."""
    _, _, address = postgres.dsn.partition("@")
    with pytest.raises(asyncpg.InvalidPasswordError):
        value(f"postgresql://postgres:wrong@{address}", "SELECT 1")


def test_kill_9_loses_no_commit(postgres: Postgres, database: str) -> None:
    """After kill -9 the same address serves the same data, though a session was open."""

    async def crash() -> None:
        connection = await asyncpg.connect(database, timeout=10)
        await connection.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
        await asyncio.to_thread(postgres.server.kill)
        connection.terminate()
        await asyncio.to_thread(postgres.server.start)

    asyncio.run(crash())
    assert value(database, "SELECT n FROM kept") == 7


def test_the_folder_serves_again(open_folder: Path) -> None:
    """A second life in the same folder has the same address, password and data."""
    with Postgres(open_folder) as first:
        value(first.dsn, "CREATE TABLE kept AS SELECT 7 AS n")
    with Postgres(open_folder) as second:
        assert second.dsn == first.dsn
        assert value(second.dsn, "SELECT n FROM kept") == 7


def test_a_crash_in_the_first_boot_does_no_harm(open_folder: Path) -> None:
    """Only a whole data folder gets its final name."""
    place = reachable_folder(open_folder / "cluster", unprivileged.postgres_account())
    (place / "data-1234").mkdir()
    (place / "password").write_text("of the first try")
    with Postgres(open_folder) as pg:
        assert value(pg.dsn, "SELECT 1") == 1


def test_a_note_of_a_dead_server_is_forgotten_when_its_process_id_is_anothers(tmp_path: Path) -> None:
    """Postgres would refuse to start next to any living process with that number."""
    note = tmp_path / "postmaster.pid"
    note.write_text(f"{os.getpid()}\n{tmp_path}\n")
    forget_dead_server(tmp_path)
    assert not note.exists()
    forget_dead_server(tmp_path)


def test_sessions_end_with_the_server(postgres: Postgres) -> None:
    """No process of the old server is left when `kill` returns."""
    children = Path(f"/proc/{postgres.server.pid}/task/{postgres.server.pid}/children")
    workers = [int(pid) for pid in children.read_text().split()]
    assert workers
    postgres.server.kill()
    assert not any(map(alive, workers))
    postgres.server.start()


def test_before_it_is_started_it_says_so(tmp_path: Path) -> None:
    """Using it outside its block is a clear error."""
    with pytest.raises(Unavailable, match="not started"):
        Postgres(tmp_path).server.kill()


@as_root
def test_root_gives_way_to_another_user(postgres: Postgres) -> None:
    """The server and all that it may read belong to an unprivileged user."""
    assert Path(f"/proc/{postgres.server.pid}").stat().st_uid == unprivileged.postgres_account().uid != 0
    data = postgres.folder / "cluster" / "data"
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


@as_root
def test_a_closed_folder_is_replaced_by_a_reachable_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data and programs below a folder that only root enters move to the temporary folder."""
    closed, temporary = tmp_path / "closed", tmp_path / "temporary"
    closed.mkdir(mode=0o700)
    temporary.mkdir()
    install = closed / unprivileged.postgres_install().name
    install.symlink_to(unprivileged.postgres_install())
    monkeypatch.setattr(unprivileged, "postgres_install", lambda: install)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(unprivileged, "can_reach", lambda path, _account: closed not in (path, *path.parents))
    account = unprivileged.postgres_account()
    assert reachable_folder(closed / "cluster", account).is_relative_to(temporary)
    copied = unprivileged.reachable_install(account)
    assert copied.is_relative_to(temporary)
    assert (copied / "bin" / "postgres").exists()
    assert unprivileged.reachable_install(account) == copied


@as_root
def test_a_strangers_folder_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user may have made the name in the temporary folder first."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(unprivileged, "can_reach", lambda _path, _account: True)
    trap = tmp_path / "bennu-postgres-x"
    trap.mkdir()
    os.chown(trap, 12345, 12345)
    with pytest.raises(BadSettings, match="made by somebody else"):
        private_place("x", unprivileged.postgres_account())


@as_root
def test_without_any_reachable_folder_there_is_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the folder and what to do."""
    tmp_path.chmod(0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(BadSettings, match="set TMPDIR"):
        private_place("x", unprivileged.postgres_account())


def test_reach_is_judged_as_the_kernel_does(tmp_path: Path) -> None:
    """The owner's bit counts for the owner alone, the last bit for strangers."""
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    owner, stranger = Account(os.getuid(), os.getgid()), Account(54321, 54321)
    assert can_reach(folder, owner)
    folder.parent.chmod(0o700)
    assert not can_reach(folder, stranger)


def test_kill_9_of_the_server_itself_is_noticed(postgres: Postgres) -> None:
    """A server that died is not taken for running, and starts again."""
    os.kill(postgres.server.pid, 9)
    until(lambda: not postgres.server.running)
    postgres.server.start()
    assert value(postgres.dsn, "SELECT 1") == 1
