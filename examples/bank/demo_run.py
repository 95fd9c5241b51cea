"""What the demonstration does to a running bank, and what it counts afterwards."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from bank import checks, scenario
from bank.clients import Client, clients, share_out
from bank.v1.commands_pb2 import Transfer
from bank.v1.queries_pb2 import GetStatement, StatementView
from bennu import log
from bennu.reading import MAX_TIMEOUT_S, wait_for
from bennu.replica.history import effective_batches
from bennu.stack.suite import Suite
from bennu.v1.journal_pb2 import EventBatch

SETTLE_TIMEOUT_S = 300.0
POLL_S = 0.2
SHOWN_ROWS = 5
TABLES = ("accounts", "entries", "transfers")

Say = Callable[[str], object]


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    accounts: int
    transfers: int
    clients: int
    seed: int


@dataclass
class Result:
    """What was counted.  Money, fees among it, is in minor units of `scenario.CURRENCY`."""

    commands: int = 0
    commands_seconds: float = 0.0
    transfers_completed: int = 0
    transfers_compensated: int = 0
    transfers_refused: int = 0
    """Failed before any money moved."""
    transfers_with_fee: int = 0
    """Of those that completed."""
    fees_in_memory: int = 0
    fees_in_journal: int = 0
    fees_in_postgres: int = 0
    fees_due: int = 0
    """What the completed transfers cost."""
    money_before: int = 0
    money_after: int = 0
    money_in_journal: int = 0
    money_in_postgres: int = 0
    tables_match: bool = False
    seconds_to_first_reply: float = 0.0
    settled_seconds: float = 0.0
    """From the last answer to the last transfer's end, as the tables show it."""
    reasons: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    shown: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    """The first rows of each table."""

    def numbers(self) -> dict[str, object]:
        """Everything but the rows, for a program."""
        left_out = ("shown", "reasons")
        return {name: value for name, value in vars(self).items() if name not in left_out}


async def run(plan: Plan, suite: Suite, *, say: Say) -> Result:
    """Open, pay in, transfer, wait for every end, count.  Raises `TimeoutError` when something gets stuck."""
    result = Result()
    accounts = scenario.accounts(plan.accounts)
    result.money_before = sum(account.funds_minor for account in accounts)
    async with clients(suite.grpc, plan.clients, seed=plan.seed) as callers:
        work = _Work(result, say)
        await work.open(callers, accounts)
        await work.transfer(callers, plan, accounts)
        connection = await asyncpg.connect(suite.dsn, timeout=10)
        try:
            await work.settle(connection, plan.transfers)
            await work.count_memory(callers, accounts)
            await work.compare(connection, suite)
        finally:
            await connection.close()
    judge(plan, result)
    return result


class _Work:
    """The steps; each fills in a part of `result`."""

    def __init__(self, result: Result, say: Say) -> None:
        self._result = result
        self._say = say

    async def _send(self, client: Client, method: str, command: object, *, command_id: str) -> None:
        await client.call(getattr(client.bank, method), command, command_id)
        result = self._result
        if not result.commands:
            result.seconds_to_first_reply = round(process_age_s(), 3)
        result.commands += 1

    async def open(self, callers: list[Client], accounts: list[scenario.Account]) -> None:
        """Make the accounts what they are."""
        self._say(f"opening {sum(a.kind is not scenario.Kind.UNKNOWN for a in accounts)} accounts ...")
        self._began_s = time.monotonic()

        async def make(client: Client, account: scenario.Account) -> None:
            for method, command in account.commands():
                await self._send(client, method, command, command_id=f"{account.name}/{method}")

        await share_out(callers, accounts, make)

    async def transfer(self, callers: list[Client], plan: Plan, accounts: list[scenario.Account]) -> None:
        """Ask for all transfers; each is answered when it is durable, and ends later."""
        self._say(f"asking for {plan.transfers} transfers, {plan.clients} callers at a time ...")

        async def ask(client: Client, transfer: Transfer) -> None:
            await self._send(client, "Transfer", transfer, command_id=transfer.transfer)

        await share_out(callers, scenario.transfers(accounts, plan.transfers, seed=plan.seed), ask)
        self._answered_s = time.monotonic()
        self._result.commands_seconds = round(self._answered_s - self._began_s, 3)

    async def settle(self, connection: checks.Connection, transfers: int) -> None:
        """Wait until the tables show the end of each."""
        self._say("waiting until every transfer has ended ...")
        query = "SELECT count(*) FROM bank.transfers WHERE status <> 'requested'"
        async with asyncio.timeout(SETTLE_TIMEOUT_S):
            while await connection.fetchval(query) < transfers:  # noqa: ASYNC110  other processes are at work
                await asyncio.sleep(POLL_S)
        self._result.settled_seconds = round(time.monotonic() - self._answered_s, 3)

    async def count_memory(self, callers: list[Client], accounts: list[scenario.Account]) -> None:
        """Ask CServer for each balance, and for the fees that were paid."""
        balances: Counter[str] = Counter()
        fees: Counter[str] = Counter()

        async def ask(client: Client, account: scenario.Account) -> None:
            if account.kind is not scenario.Kind.UNKNOWN:
                view: StatementView = await client.call(client.bank.GetStatement, GetStatement(account=account.name))
                balances[view.currency] += view.balance_minor
                fees[view.currency] += view.fees_minor

        await share_out(callers, accounts, ask)
        self._result.fees_in_memory = fees[scenario.CURRENCY]
        self._result.money_after = balances[scenario.CURRENCY] + fees[scenario.CURRENCY]

    async def compare(self, connection: checks.Connection, suite: Suite) -> None:
        """The journal against the tables, row by row."""
        journals = await _shown_journals(connection, suite)
        self._say("comparing every row with a recomputation from the journal ...")
        result = self._result
        expected = checks.recompute(journals)
        found = await checks.read_tables(connection)
        wrong = checks.differences(found, expected)
        result.tables_match = not wrong
        result.problems += wrong[:SHOWN_ROWS]
        result.money_in_journal = checks.money(expected).get(scenario.CURRENCY, 0)
        result.money_in_postgres = checks.money(found).get(scenario.CURRENCY, 0)
        result.fees_in_journal = checks.fees(expected).get(scenario.CURRENCY, 0)
        result.fees_in_postgres = checks.fees(found).get(scenario.CURRENCY, 0)
        result.fees_due = checks.fees_due(expected).get(scenario.CURRENCY, 0)
        returned = {entry.transfer for entry in expected.entries.values() if entry.kind in ("reversal", "refund")}
        for transfer in expected.transfers.values():
            result.transfers_completed += transfer.status == "completed"
            result.transfers_with_fee += transfer.status == "completed" and transfer.fee_minor > 0
            result.transfers_compensated += transfer.status == "failed" and transfer.transfer in returned
            result.transfers_refused += transfer.status == "failed" and transfer.transfer not in returned
            if transfer.reason:
                result.reasons[transfer.reason] += 1
        for table in TABLES:
            rows = await connection.fetch(f"SELECT * FROM bank.{table} ORDER BY 1, 2 LIMIT {SHOWN_ROWS}")  # noqa: S608
            result.shown[table] = [dict(row) for row in rows]


async def _shown_journals(connection: checks.Connection, suite: Suite) -> list[list[EventBatch]]:
    """What the journals hold, once the tables show all of it: the end of a transfer may come before its accounts."""
    settings = suite.settings
    async with log.open(suite.log_url) as opened:
        topics = [f"{settings.app_name}-events-{number}" for number in range(settings.partitions)]
        journals = {topic: await effective_batches(opened, topic) for topic in topics}
    for topic, batches in journals.items():
        if batches:
            await wait_for(connection, f"{topic}:{batches[-1].batch_no}", timeout_s=MAX_TIMEOUT_S)
    return list(journals.values())


def judge(plan: Plan, result: Result) -> None:
    """What must hold, in words where it does not."""
    ended = result.transfers_completed + result.transfers_compensated + result.transfers_refused
    if ended != plan.transfers:
        result.problems.append(f"{plan.transfers} transfers were asked for, {ended} ended")
    for where, money, fees in (
        ("memory", result.money_after, result.fees_in_memory),
        ("the journal", result.money_in_journal, result.fees_in_journal),
        ("Postgres", result.money_in_postgres, result.fees_in_postgres),
    ):
        if money != result.money_before:
            result.problems.append(f"{result.money_before} was paid in, but {where} holds {money}")
        if fees != result.fees_due:
            result.problems.append(f"completed transfers cost {result.fees_due}, but {where} has {fees} of fees")


def process_age_s() -> float:
    """Seconds since this process was started, also as another program that it then became (see proc(5))."""
    started_ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    up_s = float(Path("/proc/uptime").read_text().split()[0])
    return up_s - started_ticks / os.sysconf("SC_CLK_TCK")
