"""The bank in Postgres, a transaction a command: what a team writes first, and the same in one stored function.

A deposit locks the account's row, updates it, adds an entry, keeps the command's id with its reply, and commits; a
command that comes again finds its id.  Postgres is as durable as by default: a commit returns when it is fsynced.
Statements are prepared, a session has one command at a time, and each session is one of so many connections.
"""

import asyncio
import time
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from benchmarks.contest.place import Place
from benchmarks.contest.port import Round
from benchmarks.frames import NAMES

if TYPE_CHECKING:
    from asyncpg.prepared_stmt import PreparedStatement

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

CONNECTIONS = (1, 4, 8, 16, 32)
WARM_S = 0.5
AMOUNT_MINOR = 5

TABLES = """
CREATE TABLE IF NOT EXISTS accounts (
  account text PRIMARY KEY, currency text NOT NULL, balance_minor bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS entries (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account text NOT NULL, amount_minor bigint NOT NULL,
  balance_minor bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS commands (command_id text PRIMARY KEY, balance_minor bigint NOT NULL);
"""
FUNCTION = """
CREATE OR REPLACE FUNCTION deposit(the_id text, the_account text, the_currency text, the_amount bigint)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  found_currency text;
  balance bigint;
BEGIN
  SELECT currency, balance_minor INTO found_currency, balance FROM accounts WHERE account = the_account FOR UPDATE;
  IF NOT FOUND THEN RAISE EXCEPTION 'unknown_account'; END IF;
  IF found_currency <> the_currency THEN RAISE EXCEPTION 'other_currency'; END IF;
  balance := balance + the_amount;
  INSERT INTO commands VALUES (the_id, balance) ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN RETURN (SELECT balance_minor FROM commands WHERE command_id = the_id); END IF;
  UPDATE accounts SET balance_minor = balance WHERE account = the_account;
  INSERT INTO entries (account, amount_minor, balance_minor) VALUES (the_account, the_amount, balance);
  RETURN balance;
END $$;
"""
OPEN = "INSERT INTO accounts SELECT name, 'EUR' FROM unnest($1::text[]) AS name ON CONFLICT DO NOTHING"
STATEMENTS = (
    "SELECT currency, balance_minor FROM accounts WHERE account = $1 FOR UPDATE",
    "UPDATE accounts SET balance_minor = $2 WHERE account = $1",
    "INSERT INTO entries (account, amount_minor, balance_minor) VALUES ($1, $2, $3)",
    "INSERT INTO commands VALUES ($1, $2)",
)

_serial = count()


class ByTransaction:
    """BEGIN, SELECT FOR UPDATE, UPDATE, INSERT an entry, INSERT the id, COMMIT: six round trips."""

    kind = "transaction"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._prepared: list[PreparedStatement[asyncpg.Record]] = []

    async def prepare(self) -> None:
        """Once for each connection."""
        self._prepared = [await self._connection.prepare(statement) for statement in STATEMENTS]

    async def deposit(self, command_id: str, account: str) -> int:
        """The new balance, once durable.  Raises `UniqueViolationError` for an id that is known."""
        select, update, add_entry, add_command = self._prepared
        async with self._connection.transaction():
            row = await select.fetchrow(account)
            assert row is not None
            assert row["currency"] == "EUR"
            balance_minor: int = row["balance_minor"] + AMOUNT_MINOR
            await update.fetch(account, balance_minor)
            await add_entry.fetch(account, AMOUNT_MINOR, balance_minor)
            await add_command.fetch(command_id, balance_minor)
        return balance_minor


class ByFunction:
    """The same in one call of a stored function: one round trip, and one commit."""

    kind = "function"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def prepare(self) -> None:
        """Once for each connection."""
        self._call = await self._connection.prepare("SELECT deposit($1, $2, $3, $4)")

    async def deposit(self, command_id: str, account: str) -> int:
        """The new balance, once durable; for an id that is known, as it was then."""
        balance_minor: int = await self._call.fetchval(command_id, account, "EUR", AMOUNT_MINOR)
        return balance_minor


class InPostgres:
    """So many connections, each with one command at a time."""

    def __init__(self, way: type[ByTransaction] | type[ByFunction], connections: int) -> None:
        self.name = f"postgres/{way.kind}/{connections}"
        self._way, self._connections = way, connections
        self._sessions: list[ByTransaction | ByFunction] = []

    async def prepare(self, place: Place) -> None:
        dsn = await place.database(self._way.kind)
        for number in range(self._connections):
            connection = await asyncpg.connect(dsn)
            place.closing.push_async_callback(connection.close)
            if number == 0:
                await connection.execute(TABLES + FUNCTION)
                await connection.execute(OPEN, NAMES)
            session = self._way(connection)
            await session.prepare()
            self._sessions.append(session)
        await self.round(WARM_S)

    async def round(self, seconds: float) -> Round:
        run, numbers = next(_serial), count()
        latencies_ms: list[float] = []
        began_s, client_s = time.perf_counter(), time.process_time()

        async def work(session: ByTransaction | ByFunction) -> None:
            while (sent_s := time.perf_counter()) < began_s + seconds:
                number = next(numbers)
                await session.deposit(f"p{run}-{number}", NAMES[number % len(NAMES)])
                latencies_ms.append((time.perf_counter() - sent_s) * 1000)

        async with asyncio.TaskGroup() as group:
            for session in self._sessions:
                group.create_task(work(session))
        took_s = time.perf_counter() - began_s
        return Round(len(latencies_ms), took_s, latencies_ms, client_cpu_s=time.process_time() - client_s)
