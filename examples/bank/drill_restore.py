"""`bennu drill restore`: a bank loses its log and its tables under load, and is built again from the archive.

Everything runs in a folder of its own and is killed with kill -9 while transfers are under way.  Exit code 0 only if
the new log holds all that was archived, byte for byte; the states are the same; the tables equal a recomputation; money
is conserved; and of what had been answered exactly that is lost which was not archived yet.
"""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import typer
import uvloop

from bank import checks
from bank.app import app as bank
from bank.drill_transfers import Transfers
from bennu import log
from bennu.cli.told import run_told
from bennu.drill import rebuilding
from bennu.drill.rebuilding import RebuiltSuite, Records
from bennu.errors import Unavailable
from bennu.log.port import Log
from bennu.ops import logging
from bennu.replica.history import effective_batches
from bennu.stack.folders import temporary_folder
from bennu.stack.service import Service
from bennu.stack.stack import LogKind
from bennu.stack.suite import Suite, SuiteSettings

ACCOUNTS = 200
SETTLE_TIMEOUT_S = 300.0
LOAD_TIMEOUT_S = 300.0
POLL_S = 0.2
ARCHIVER_GRACE_S = 10.0
NEW_TRANSFERS = 50
REPEATED = 20
"""One of so many answered transfers is asked for again."""


def restore(  # noqa: PLR0913  each is a flag
    *,
    kind: Annotated[LogKind, typer.Option("--log", help="Which log.")] = LogKind.SQLITE,
    transfers: Annotated[int, typer.Option(min=1, max=1_000_000, help="Answered before the destruction.")] = 2_000,
    callers: Annotated[int, typer.Option(min=1, max=1_000, help="Callers at a time.")] = 32,
    partitions: Annotated[int, typer.Option(min=1, max=64, help="Partitions of the bank.")] = 2,
    seed: Annotated[int, typer.Option(help="Chooses who pays whom.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Lose everything but the archive, build all of it again, and compare.  Nothing is left behind."""
    logging.configure("warning")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its `bennu drill &` ignore it
    load = Transfers(seed, ACCOUNTS, callers)
    settings = SuiteSettings("bank.app:app", bank.name, kind, partitions)
    with temporary_folder("bennu-drill-") as folder:
        drill = Drill(settings, load, folder, say=typer.echo)
        try:
            uvloop.run(drill.run(transfers))
        except TimeoutError as stuck:
            raise Unavailable("the drill got stuck: all parts run, but an answer did not come") from stuck
    found = {"ok": not drill.problems, "log": kind, "seed": seed, **drill.found, "problems": drill.problems}
    if as_json:
        typer.echo(json.dumps(found))
    else:
        for key, value in found.items():
            typer.echo(f"{key:28} {value}")
    if drill.problems:
        raise Unavailable("; ".join(drill.problems))


class Drill:
    """The steps.  `found` is what was counted, `problems` what does not hold."""

    def __init__(self, settings: SuiteSettings, load: Transfers, folder: Path, *, say: Callable[[str], object]) -> None:
        self._settings = settings
        self._load = load
        self._folder = folder
        self._archive = folder / "archive"
        self._kept: set[str] = set()
        self._say = say
        self.found: dict[str, Any] = {}
        self.problems: list[str] = []

    async def run(self, transfers: int) -> None:
        """All of it.  Raises `Unavailable` when a part does not come up, `TimeoutError` when something gets stuck."""
        before = await self._lose_everything(transfers)
        began_s = time.monotonic()
        self._say("building a new log from the archive, and starting the services over an empty Postgres ...")
        async with RebuiltSuite(self._settings, self._folder / "suite", archive=self._archive) as suite:
            self.found["rebuilt_seconds"] = round(time.monotonic() - began_s, 3)
            ends = {topic["topic"]: topic["last"] + 1 for topic in suite.restored}
            self.found |= {"snapshots_put_back": suite.put_back, "began_from_snapshots": suite.began_from_snapshots}
            self._check("snapshots_used", suite.began_from_snapshots > 0, "no service began from a snapshot")
            await self._compare(suite, before, ends)
            await self._go_on(suite)

    async def _lose_everything(self, transfers: int) -> Records:
        """Work, archive, and destroy; what the log held when it was lost."""
        self._say(f"starting the log ({self._settings.kind}), Postgres, the services and the archiver ...")
        async with Suite(self._settings, self._folder / "suite") as suite:
            archiver = rebuilding.archiver(suite, self._archive)
            try:
                await asyncio.to_thread(archiver.start)
                await self._load.open(suite.grpc)
                await asyncio.to_thread(archiver.wait_serving)
                self._say(f"asking for transfers, and killing everything once {transfers} are answered ...")
                await self._work_and_die(suite, archiver, transfers)
            finally:
                await asyncio.to_thread(archiver.kill)
            async with log.open(suite.log_url) as opened:
                held = await rebuilding.all_records(opened, self._settings)
            await asyncio.to_thread(rebuilding.destroy, suite)
            return held

    async def _work_and_die(self, suite: Suite, archiver: Service, transfers: int) -> None:
        working = asyncio.create_task(self._load.run(suite.grpc))
        try:
            async with asyncio.timeout(LOAD_TIMEOUT_S):
                await self._load.until(transfers // 2)
                self.found["snapshots_kept"] = await asyncio.to_thread(rebuilding.take_snapshots, suite, self._archive)
                await self._load.until(transfers)
            await asyncio.to_thread(rebuilding.kill_services, suite, [archiver])
        finally:
            working.cancel()
            await asyncio.wait({working})

    async def _compare(self, suite: RebuiltSuite, before: Records, ends: dict[str, int]) -> None:
        """Log against log, state against state, tables against a recomputation."""
        self._say("waiting until every transfer has ended, then comparing ...")
        async with log.open(suite.log_url) as opened:
            await self._settle(suite, opened)
            after = await rebuilding.all_records(opened, self._settings)
        wrong = rebuilding.differences(before, after, ends)
        self._check("journals_equal", not wrong, "; ".join(wrong[:3]))
        old, new = (rebuilding.state_digests(records, bank, ends) for records in (before, after))
        self._check("digests_equal", old == new and len(new) == self._settings.partitions, "states differ")
        self._count_loss(before, after, ends)
        rebuilding.bennu(
            "journal", "verify", "--app", self._settings.app, "--log", suite.log_url, settings=self._settings
        )

    def _count_loss(self, before: Records, after: Records, ends: dict[str, int]) -> None:
        """Of what was answered, that is gone which was not archived, and nothing else."""
        whole = {topic: len(bodies) for topic, bodies in before.items()}
        answered = set(self._load.answered)
        decided, archived = (rebuilding.command_ids(before, bank, upto) for upto in (whole, ends))
        self._kept = archived & rebuilding.command_ids(after, bank, {topic: len(after[topic]) for topic in ends})
        self._check("answered_was_durable", answered <= decided, "something was answered that the log never held")
        self._check("nothing_archived_missing", self._kept == archived, "commands that were archived are missing")
        self.found |= {
            "answered": len(answered),
            "answered_and_lost": len(answered - self._kept),
            "archived_records": sum(ends.values()),
            "lost_records": {topic: whole[topic] - end for topic, end in ends.items() if whole[topic] > end},
            "last_archived": {topic: end - 1 for topic, end in ends.items()},
        }

    async def _settle(self, suite: Suite, opened: Log) -> None:
        """Wait until every transfer in the journals has ended and the tables show it."""
        connection = await asyncpg.connect(suite.dsn, timeout=10)
        tables, wrong = checks.Tables(), ["nothing was read"]
        try:
            async with asyncio.timeout(SETTLE_TIMEOUT_S):
                while wrong:
                    await asyncio.sleep(POLL_S)
                    expected = await self._recomputed(opened)
                    tables = await checks.read_tables(connection)
                    wrong = checks.differences(tables, expected) or checks.unended(tables)
        except TimeoutError:
            self._say("the tables do not come to what the journals say")
        finally:
            await connection.close()
        self._check("tables_match", not wrong, "; ".join(wrong[:3]))
        paid_in = -sum(entry.amount_minor for entry in tables.entries.values() if entry.account == "cash")
        conserved = sum(checks.money(tables).values()) == paid_in and not any(checks.entry_sums(tables).values())
        self._check("money_conserved", conserved, f"{paid_in} was paid in, the tables hold {checks.money(tables)}")
        self.found["money_minor"] = paid_in

    async def _recomputed(self, opened: Log) -> checks.Tables:
        topics = [f"{bank.name}-events-{number}" for number in range(self._settings.partitions)]
        return checks.recompute([await effective_batches(opened, topic) for topic in topics])

    async def _go_on(self, suite: Suite) -> None:
        """The bank answers as before, takes new transfers, and its archive is continued."""
        self._say("repeating answered transfers, asking for new ones, continuing the archive ...")
        some = set(sorted(self._kept)[::REPEATED])
        wrong = await self._load.repeat(suite.grpc, some.__contains__)
        self._check("replies_equal", not wrong, f"{len(wrong)} repeated ids got another answer")
        self.found["repeated"] = len(some & self._load.answered.keys())
        await self._transfer_anew(suite)
        archiver = rebuilding.archiver(suite, self._archive)
        try:
            await asyncio.to_thread(archiver.start)
            await asyncio.to_thread(archiver.wait_serving)
        finally:
            await asyncio.to_thread(archiver.stop, signal.SIGTERM, ARCHIVER_GRACE_S)
        verified = rebuilding.bennu("archive", "verify", "--from", str(self._archive), settings=self._settings)
        self._check("archive_goes_on", verified["ok"], "the archive is broken")

    async def _transfer_anew(self, suite: Suite) -> None:
        fresh = Transfers(self._load.seed + 1, ACCOUNTS, self._load.callers)
        working = asyncio.create_task(fresh.run(suite.grpc))
        try:
            async with asyncio.timeout(LOAD_TIMEOUT_S):
                await fresh.until(NEW_TRANSFERS)
        finally:
            working.cancel()
            await asyncio.wait({working})
        self.found["answered_after"] = len(fresh.answered)

    def _check(self, name: str, holds: bool, problem: str) -> None:
        self.found[name] = holds
        if not holds:
            self.problems.append(f"{name}: {problem}")


def build() -> typer.Typer:
    """The command, by itself."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(restore)
    return app


if __name__ == "__main__":
    sys.exit(run_told(build, sys.argv[1:], name="bennu drill restore"))
