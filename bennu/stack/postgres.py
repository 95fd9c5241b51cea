"""A real Postgres (18, or 16) on this machine, from a wheel, as a child of this process.

    with Postgres(folder) as pg:            # or `async with`
        connect(pg.dsn)
        pg.server.kill()                    # kill -9
        pg.server.start()                   # the same port, the same data

It is durable (fsync as by default), listens on the loopback address alone, and wants the password in the DSN: others
on the machine may reach the port.  The same folder may be used again later.
"""

import os
import secrets
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from bennu.errors import Unavailable
from bennu.stack.child import READY_TIMEOUT_S, Child, Program
from bennu.stack.owned import Owned
from bennu.stack.ports import HOST, free_port, is_free
from bennu.stack.unprivileged import Account, postgres_account, postgres_release, reachable_folder, reachable_install

READY = "database system is ready to accept connections"
USER = "postgres"
INITDB_TIMEOUT_S = 120.0
STOP_GRACE_S = 1.0
ORPHANS_TIMEOUT_S = 15.0
"""After kill -9 of the server its sessions live until they notice; until then a new server may not start."""
ORPHANS = ("shared memory block", "Terminate any old server processes")


class Postgres(Owned):
    """The running server and how to reach it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._server: PostgresServer | None = None
        self._port = 0
        self._password = ""

    @property
    def server(self) -> "PostgresServer":
        """The server's process."""
        if self._server is None:
            raise Unavailable("Postgres was not started: use it inside `with Postgres(folder) as pg:`")
        return self._server

    @property
    def dsn(self) -> str:
        """The database `postgres`; put another name at the end for another database."""
        return f"postgresql://{USER}:{self._password}@{HOST}:{self._port}/postgres"

    def start(self) -> None:
        """Make the data folder when it is not there, then start the server."""
        self.folder.mkdir(parents=True, exist_ok=True)
        account = postgres_account()
        install = reachable_install(account)
        place = reachable_folder(self.folder / "cluster", account)
        self._password = _initialize(install, place, account=account)
        self._port = _choose_port(place)
        command = server_command(install, place / "data", port=self._port)
        program = Program("postgres", command, READY, account.uid, account.gid)
        self._server = PostgresServer(program, self.folder / "postgres.out", data=place / "data")
        self._server.start()

    def stop(self) -> None:
        """A quick clean stop; kill -9 for what is left after a second."""
        if self._server is not None:
            self._server.stop(signal.SIGINT, STOP_GRACE_S)


class PostgresServer(Child):
    """The process, which may have to wait for the last sessions of its killed predecessor."""

    def __init__(self, program: Program, output: Path, *, data: Path) -> None:
        super().__init__(program, output)
        self._data = data

    def start(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Start, and return when it serves.  Raises `Unavailable` with its last lines."""
        deadline = time.monotonic() + ORPHANS_TIMEOUT_S
        forget_dead_server(self._data)
        while True:
            try:
                return super().start(timeout_s)
            except Unavailable as problem:
                if time.monotonic() > deadline or not any(words in str(problem) for words in ORPHANS):
                    raise
            time.sleep(0.1)


def server_command(install: Path, data: Path, *, port: int) -> list[str]:
    """How the server is run; the reasons are in the comments."""
    settings = {
        "listen_addresses": HOST,
        "port": port,
        "unix_socket_directories": "",  # TCP alone: no file to collide on, and no path that is too long
        "logging_collector": "off",  # we read its output
        "lc_messages": "C",  # and look for English words in it
        "timezone": "UTC",
        "max_connections": 200,  # several services with a pool each
    }
    options = [f"--{name}={value}" for name, value in settings.items()]
    return [str(install / "bin" / "postgres"), "-D", str(data), *options]


def forget_dead_server(data: Path) -> None:
    """Remove the note of a killed server whose process id now belongs to another program: Postgres would refuse."""
    note = data / "postmaster.pid"
    with suppress(FileNotFoundError):
        pid = note.read_text().split("\n", 1)[0].strip()
        if not Path("/proc", pid, "comm").read_text().startswith("postgres"):
            note.unlink()


def _initialize(install: Path, place: Path, *, account: Account) -> str:
    """The password; the data folder is made at first, and only a whole one gets its final name."""
    secret, data, half = place / "password", place / "data", place / f"data-{secrets.token_hex(4)}"
    if data.exists():
        return secret.read_text()
    secret.touch(mode=0o600)
    secret.write_text(secrets.token_urlsafe(16))
    os.chown(secret, account.uid, account.gid)
    _initdb(install, half, secret=secret, account=account)
    half.rename(data)
    return secret.read_text()


def _initdb(install: Path, data: Path, *, secret: Path, account: Account) -> None:
    locale = ["--encoding=UTF8", "--locale=C"]
    if postgres_release() != "16":  # which sorts all but ASCII by bytes alone
        locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command = [str(install / "bin" / "initdb"), "-D", str(data), "-U", USER, f"--pwfile={secret}", *locale]
    other = account.uid != os.getuid()
    made = subprocess.run(
        [*command, "--auth=scram-sha-256", "--no-instructions"],
        user=account.uid if other else None,
        group=account.gid if other else None,
        extra_groups=[] if other else None,
        capture_output=True,
        text=True,
        cwd="/",
        timeout=INITDB_TIMEOUT_S,
        check=False,
    )
    if made.returncode != 0:
        raise Unavailable(f"initdb failed in {data}:\n{made.stdout[-1000:]}{made.stderr[-1000:]}")


def _choose_port(place: Path) -> int:
    """The port of the last time when it is free."""
    remembered = place / "port"
    if remembered.exists() and is_free(int(remembered.read_text())):
        return int(remembered.read_text())
    port = free_port()
    remembered.write_text(str(port))
    return port
