"""The bank with the library `eventsourcing` on Postgres, as fast as it can be set up for one process.

Aggregates stay in its cache, so that a deposit reads nothing, and are not read again, since nobody else writes; an
insert is one call of its own database function; psycopg is the compiled one.  Each thread has accounts of its own, so
that no two collide.  A command's id is not kept: the library has no place for it, so a repeated deposit is paid twice.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote, urlsplit
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from benchmarks.contest.place import Place
from benchmarks.contest.port import Round
from benchmarks.frames import NAMES

THREADS = (1, 8)
WARM_S = 0.5
AMOUNT_MINOR = 5


class Account(Aggregate):
    """One of the bank's."""

    @event("Opened")
    def __init__(self, name: str, currency: str) -> None:
        self.name = name
        self.currency = currency
        self.balance_minor = 0

    @staticmethod
    def create_id(name: str, currency: str) -> UUID:
        """Where it is found."""
        return uuid5(NAMESPACE_URL, f"/accounts/{name}")

    @event("Deposited")
    def deposit(self, amount_minor: int) -> None:
        """Pay in."""
        self.balance_minor += amount_minor


class Bank(Application[UUID]):
    """Accounts, by their names."""

    def open(self, names: list[str]) -> None:
        """All of them, in one transaction."""
        self.save(*(Account(name=name, currency="EUR") for name in names))

    def deposit(self, account: UUID, amount_minor: int) -> None:
        """Durable when it returns."""
        found: Account = self.repository.get(account)
        found.deposit(amount_minor)
        self.save(found)

    def balance_minor(self, name: str) -> int:
        """What is there now."""
        found: Account = self.repository.get(Account.create_id(name, ""))
        return found.balance_minor


def settings(dsn: str, threads: int) -> dict[str, str]:
    """What the library reads from its environment."""
    url = urlsplit(dsn)
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": url.path.removeprefix("/"),
        "POSTGRES_HOST": url.hostname or "",
        "POSTGRES_PORT": str(url.port),
        "POSTGRES_USER": url.username or "",
        "POSTGRES_PASSWORD": unquote(url.password or ""),
        "POSTGRES_POOL_SIZE": str(threads),
        "POSTGRES_MAX_OVERFLOW": "0",
        "POSTGRES_ENABLE_DB_FUNCTIONS": "y",
        "AGGREGATE_CACHE_MAXSIZE": str(2 * len(NAMES)),
        "AGGREGATE_CACHE_FASTFORWARD": "n",
        "DEEPCOPY_FROM_AGGREGATE_CACHE": "n",
    }


class WithLibrary:
    """So many threads in one process, each with one command at a time."""

    def __init__(self, threads: int) -> None:
        self.name = f"eventsourcing/postgres/{threads}"
        self._threads = threads
        self.bank: Bank | None = None

    async def prepare(self, place: Place) -> None:
        dsn = await place.database(f"eventsourcing_{self._threads}")
        self.bank = Bank(env=settings(dsn, self._threads))
        place.closing.callback(self.bank.close)
        self._pool = place.closing.enter_context(ThreadPoolExecutor(self._threads))
        self.bank.open(NAMES)
        await self.round(WARM_S)

    async def round(self, seconds: float) -> Round:
        began_s, client_s = time.perf_counter(), time.process_time()
        loop = asyncio.get_running_loop()
        working = [loop.run_in_executor(self._pool, self._work, n, began_s + seconds) for n in range(self._threads)]
        latencies_ms = [each for found in await asyncio.gather(*working) for each in found]
        took_s = time.perf_counter() - began_s
        return Round(len(latencies_ms), took_s, latencies_ms, client_cpu_s=time.process_time() - client_s)

    def _work(self, number: int, until_s: float) -> list[float]:
        """Milliseconds of each."""
        assert self.bank is not None
        own = [Account.create_id(name, "") for name in NAMES[number :: self._threads]]
        latencies_ms: list[float] = []
        while (sent_s := time.perf_counter()) < until_s:
            self.bank.deposit(own[len(latencies_ms) % len(own)], AMOUNT_MINOR)
            latencies_ms.append((time.perf_counter() - sent_s) * 1000)
        return latencies_ms
