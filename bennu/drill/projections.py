"""A rehearsal of projections: what fills tables is killed while they are read and rebuilt; every row is compared."""

import asyncio
import random
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial

from bennu import log
from bennu.drill.beside import beside
from bennu.drill.calls import commands_of
from bennu.drill.failover import Say
from bennu.drill.limits import LEVEL_TIMEOUT_S, STATE_POLL_S, SWITCH_WITHIN_S, UNDISTURBED_S, WHOLE_TIMEOUT_S
from bennu.drill.load import Load
from bennu.drill.nodes import Cluster
from bennu.drill.readers import Database, Probe, Reader
from bennu.drill.rebuilds import Faults, Operator
from bennu.drill.table_result import TableResult
from bennu.drill.watch import SERVICE, Watch
from bennu.drill.workload import TableWorkload
from bennu.errors import Unavailable
from bennu.log.port import Log


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    rounds: int
    """Faults, each followed by a check."""
    rate: float
    every_s: float
    seed: int
    bounded: bool
    """Whether live tables must keep up during the undisturbed rebuild."""


async def drill(plan: Plan, cluster: Cluster, workload: TableWorkload, *, say: Say) -> TableResult:
    """All faults, and all checks.  Raises `Unavailable` when the drill itself can't go on."""
    dsn = cluster.postgres.dsn
    async with log.open(cluster.log_url) as opened, Database(dsn) as database:
        watch = Watch(opened, workload.app.name, workload.partitions)
        tables = _Tables(workload, opened, database)
        work = _Drill(plan, cluster, workload, watch=watch, tables=tables).run(say)
        return await beside(work, watch.run(), cluster.nodes.watch())


class _Tables:
    """What they show, against the journals."""

    def __init__(self, workload: TableWorkload, log: Log, database: Database) -> None:
        self.result = TableResult()
        self.database = database
        self._workload = workload
        self._log = log

    async def check(self) -> None:
        """Compare all rows with the journals up to where the tables stand."""
        compared = await self.database.ask(lambda connection: self._workload.compare(connection, self._log))
        self.result.take(compared)

    async def level(self) -> None:
        """Until they show all events that are in the journals now.  Raises `Unavailable`."""
        end, until_s = await self._workload.journaled(self._log), time.monotonic() + LEVEL_TIMEOUT_S
        while (found := sum((await self.database.ask(self._workload.shown)).values())) < end:
            if time.monotonic() > until_s:
                raise Unavailable(f"after {LEVEL_TIMEOUT_S:.0f} s the tables show {found} of {end} events")
            await asyncio.sleep(STATE_POLL_S)


class _Drill:
    """From the first account to the last check."""

    def __init__(self, plan: Plan, cluster: Cluster, workload: TableWorkload, *, watch: Watch, tables: _Tables) -> None:
        self._plan = plan
        self._cluster = cluster
        self._workload = workload
        self._watch = watch
        self._tables = tables
        self._operator = Operator(tables.database, workload.app.name, workload.projection)
        self._result = tables.result

    async def run(self, say: Say) -> TableResult:
        nodes, app = self._cluster.nodes.of(SERVICE), self._workload.app
        await self._watch.until(partial(self._watch.whole, nodes), WHOLE_TIMEOUT_S, what="all CServers lead or follow")
        async with Load(self._watch.addresses(), chance=self._chance("pauses")) as load:
            for step in self._workload.prepare():
                await load.all_of(commands_of(app, self._workload.partitions, step))
            await self._tables.level()
            await self._tables.check()
            reader, probe = Reader(self._workload), Probe(self._workload)
            commands = commands_of(app, self._workload.partitions, self._workload.commands())
            dsn = self._cluster.postgres.dsn
            loaded = beside(self._under_load(probe, say), load.run(commands, self._plan.rate))
            await beside(self._to_the_end(loaded, load, say), reader.run(dsn), probe.run(dsn))
        self._result.judge(reader, bounded=self._plan.bounded)
        return self._result

    async def _to_the_end(self, loaded: Coroutine[None, None, None], load: Load, say: Say) -> None:
        await loaded
        await load.settle()
        say("the load has ended; all rows are compared once more ...")
        await self._tables.level()
        await self._tables.check()

    async def _under_load(self, probe: Probe, say: Say) -> None:
        await self._undisturbed(probe, say)
        faults = Faults(self._cluster, self._chance("faults"), say)
        rounds = (self._kill_qservers, self._hit_a_rebuild, self._restart_postgres, self._hit_a_switch)
        for number in range(self._plan.rounds):
            await faults.pause(2 * self._plan.every_s)
            await rounds[number % len(rounds)](faults)
            await self._tables.check()
            say(f"check {len(self._result.checks)}: {self._result.checks[-1].mismatches} rows differ")
        self._result.faults = faults.counts
        self._result.fault_lags_ms = probe.take()

    async def _undisturbed(self, probe: Probe, say: Say) -> None:
        """A rebuild beside the load and nothing else."""
        await asyncio.sleep(UNDISTURBED_S)
        probe.take()
        await asyncio.sleep(UNDISTURBED_S)
        began_s = time.monotonic()
        await self._rebuilt(await self._operator.begin(), began_s)
        await asyncio.sleep(UNDISTURBED_S)
        self._result.live_lags_ms = probe.take()
        oldest_ms = max(self._result.live_lags_ms, default=0.0)
        say(f"a rebuild took {self._result.rebuilds_s[0]:.1f} s; live rows were up to {oldest_ms:.0f} ms old")
        await self._tables.check()

    async def _kill_qservers(self, faults: Faults) -> None:
        await faults.qservers("under load")

    async def _restart_postgres(self, faults: Faults) -> None:
        await faults.postgres("under load")

    async def _hit_a_rebuild(self, faults: Faults) -> None:
        """Once at any moment of it."""
        began_s, number = time.monotonic(), await self._operator.begin()
        await faults.pause(self._result.rebuilds_s[0])
        await faults.any(f"{time.monotonic() - began_s:.1f} s into the building of generation {number}")
        await self._rebuilt(number, began_s)

    async def _hit_a_switch(self, faults: Faults) -> None:
        """About when it is switched to."""
        began_s, number = time.monotonic(), await self._operator.begin()
        await self._operator.level(number)
        await faults.pause(SWITCH_WITHIN_S)
        await faults.qservers(f"about when generation {number} is switched to")
        await self._rebuilt(number, began_s)

    async def _rebuilt(self, number: int, began_s: float) -> None:
        await self._operator.live(number)
        self._result.rebuilds_s.append(time.monotonic() - began_s)
        await self._operator.drop_previous()

    def _chance(self, what: str) -> random.Random:
        return random.Random(f"{self._plan.seed}/{what}")
