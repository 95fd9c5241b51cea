"""Who reads tables during a drill, all the time: one looks whether they agree, one how old they are."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeVar

import asyncpg

from bennu.drill.limits import AWAY_TIMEOUT_S, CALL_TIMEOUT_S, LOOK_PAUSE_S, LOOK_SHARE, PROBE_S, RECONNECT_S, SHOWN
from bennu.drill.workload import Connection, Entry, Look, TableWorkload
from bennu.errors import Unavailable
from bennu.ops.postgres import AWAY, cancellation_first

T = TypeVar("T")

ONE_CORE = {"max_parallel_workers_per_gather": "0"}
"""For each connection, so that who looks leaves the others to the services."""


class Database:
    """One connection to Postgres, made again when it is lost."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: Connection | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    async def ask(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """What `work` returns, begun anew when Postgres goes away.  Raises `Unavailable` when it stays away."""
        until_s = time.monotonic() + AWAY_TIMEOUT_S
        while True:
            try:
                if self._connection is None:
                    self._connection = await asyncpg.connect(
                        self._dsn, timeout=CALL_TIMEOUT_S, server_settings=ONE_CORE
                    )
                with cancellation_first():
                    return await work(self._connection)
            except AWAY as error:
                self._leave()
                if time.monotonic() > until_s:
                    raise Unavailable(f"Postgres has been away for {AWAY_TIMEOUT_S:.0f} s: {error!r}") from error
            await asyncio.sleep(RECONNECT_S)

    def _leave(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


class Reader:
    """Looks at whole tables, then at the views once more in the same transaction.  Counts what never was."""

    def __init__(self, workload: TableWorkload) -> None:
        self._workload = workload
        self._rows = 0
        self.reads = 0
        self.mixed = 0
        """Of several generations, or of tables at different moments, or of fewer rows than before."""
        self.unbalanced = 0
        self.told: list[str] = []
        """The first of them, in words."""

    async def run(self, dsn: str) -> None:
        """For ever."""
        async with Database(dsn) as database:
            while True:
                began_s = time.monotonic()
                await self.read(database)
                await asyncio.sleep(max(LOOK_PAUSE_S, LOOK_SHARE * (time.monotonic() - began_s)))

    async def read(self, database: Database) -> None:
        """One transaction."""
        look, later = await database.ask(self._look)
        self.reads += 1
        mixed = [*self._faults(look), *(["two generations in one transaction"] if look.generations != later else [])]
        self._rows = look.rows
        self.mixed += bool(mixed)
        self.unbalanced += bool(look.unbalanced)
        told = [*mixed, *(["entries that do not sum to zero"] if look.unbalanced else [])]
        if told and len(self.told) < SHOWN:
            self.told.append(f"read {self.reads}: {'; '.join(told)}")

    async def _look(self, connection: Connection) -> tuple[Look, frozenset[str]]:
        async with connection.transaction():
            return await self._workload.look(connection), await self._workload.generations(connection)

    def _faults(self, look: Look) -> list[str]:
        faults = []
        if len(look.generations) != 1:
            faults.append(f"views of the generations {', '.join(sorted(look.generations))}")
        if look.differing:
            faults.append(f"{look.differing} rows contradict those of another table")
        if look.rows < self._rows:
            faults.append(f"{look.rows} rows after {self._rows}")
        return faults


class Probe:
    """Sees each new row, and how long after it was recorded."""

    def __init__(self, workload: TableWorkload) -> None:
        self._workload = workload
        self._seen: dict[int, int] = {}
        self._lags_ms: list[float] = []

    async def run(self, dsn: str) -> None:
        """For ever."""
        async with Database(dsn) as database:
            self._seen = dict(await database.ask(self._workload.shown))
            while True:
                await self._look(database)
                await asyncio.sleep(PROBE_S)

    def take(self) -> list[float]:
        """How old each row was that has come since this was called last: milliseconds, by the clock of this machine."""
        taken, self._lags_ms = self._lags_ms, []
        return taken

    async def _look(self, database: Database) -> None:
        entries = await database.ask(self._newer)
        now_s = time.time()
        for entry in entries:
            self._seen[entry.partition] = entry.seq
            self._lags_ms.append((now_s - entry.recorded_at.timestamp()) * 1000)

    async def _newer(self, connection: Connection) -> list[Entry]:
        return list(await self._workload.newer(connection, self._seen))
