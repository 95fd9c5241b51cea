"""A rehearsal of sagas: many are begun, while what carries them out is killed again and again; then each is judged."""

import asyncio
import random
import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from itertools import islice

from bennu import log
from bennu.drill import ending
from bennu.drill.beside import beside
from bennu.drill.calls import OK, Call, commands_of
from bennu.drill.ending import Scene
from bennu.drill.failover import Say
from bennu.drill.kills import Kills
from bennu.drill.limits import ALL_ENDED_S, GATHER_S, SAGAS_AT_ONCE, STALL_S, TURN_COMMANDS, WHOLE_TIMEOUT_S
from bennu.drill.load import Load
from bennu.drill.nodes import Cluster
from bennu.drill.saga_journals import Ends, read_sagas
from bennu.drill.saga_result import SagaResult
from bennu.drill.watch import SAGA, SERVICE, Watch
from bennu.drill.workload import SagaWorkload
from bennu.errors import Unavailable


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    sagas: int
    rate: float
    every_s: float
    seed: int


async def drill(plan: Plan, cluster: Cluster, workload: SagaWorkload, *, say: Say) -> SagaResult:
    """All sagas, and all checks.  Raises `Unavailable` when the drill itself can't go on."""
    name, partitions = workload.app.name, workload.partitions
    async with log.open(cluster.log_url) as opened:
        watches = {service: Watch(opened, name, partitions, service=service) for service in (SERVICE, SAGA)}
        ends = Ends(opened, name)
        work = _Drill(plan, cluster, workload, watches=watches, ends=ends).run(say)
        others = [watch.run() for watch in watches.values()]
        return await beside(work, *others, cluster.nodes.watch(), *map(ends.follow, range(partitions)))


class _Drill:
    """From the first account to the verdict."""

    def __init__(
        self, plan: Plan, cluster: Cluster, workload: SagaWorkload, *, watches: dict[str, Watch], ends: Ends
    ) -> None:
        self._plan = plan
        self._cluster = cluster
        self._workload = workload
        self._watches = watches
        self._ends = ends

    async def run(self, say: Say) -> SagaResult:
        await self._wait_whole()
        result, workload = SagaResult(), self._workload
        async with Load(self._watches[SERVICE].addresses(), chance=self._chance("pauses")) as load:
            for step in workload.prepare():
                await load.all_of(commands_of(workload.app, workload.partitions, step))
            asked = await self._under_kills(result, load, say)
            await self._wait_whole()
            say("now each saga, and every answer, is judged against the journals ...")
            scene = Scene(workload, self._ends.log, self._watches[SERVICE], load, shared=True)
            await self._judge(result, scene, asked)
            return result

    async def _under_kills(self, result: SagaResult, load: Load, say: Say) -> Collection[str]:
        """The ids of all sagas that were asked for; those that can have ended by now."""
        kills = Kills(self._cluster, self._watches, self._plan.every_s, chance=self._chance)
        result.kills, began_s = kills.counts, time.monotonic()
        await beside(self._feed(load), *(kills.run(part, say) for part in kills.counts))
        await kills.finish()
        await load.settle()
        asked = {
            self._workload.saga_of(call.command)
            for call in load.calls
            if call.answer is not None and call.answer.code == OK and self._workload.starts_saga(call.command)
        }
        say(f"all {len(asked)} are begun; waiting until each has ended ...")
        await self._ends.until(lambda: not self._ends.sagas.stuck(asked), ALL_ENDED_S)
        result.seconds = time.monotonic() - began_s
        return asked

    async def _feed(self, load: Load) -> None:
        """Begin them, a bounded number at a time.  Raises `Unavailable` when none ends any more."""
        messages = islice(self._workload.commands(), self._plan.sagas)
        begin_s = time.monotonic()
        for number, command in enumerate(commands_of(self._workload.app, self._workload.partitions, messages)):
            early_s = begin_s + number / self._plan.rate - time.monotonic()
            if early_s > 0:
                await asyncio.sleep(early_s + GATHER_S)
            if not await self._ends.until(partial(self._have_ended, number + 1 - SAGAS_AT_ONCE), STALL_S):
                raise Unavailable(f"for {STALL_S:.0f} s, {SAGAS_AT_ONCE} sagas have been under way and none has ended")
            load.begin(Call(command, time.monotonic()), number // TURN_COMMANDS)

    def _have_ended(self, number: int) -> bool:
        return len(self._ends.sagas.ended) >= number

    async def _wait_whole(self) -> None:
        for service, watch in self._watches.items():
            nodes = self._cluster.nodes.of(service)
            what = f"{', '.join(nodes)} all lead or follow"
            await watch.until(partial(watch.whole, nodes), WHOLE_TIMEOUT_S, what=what)

    async def _judge(self, result: SagaResult, scene: Scene, asked: Collection[str]) -> None:
        journals = await ending.judge(result.answers, scene, self._chance("repeats"))
        sagas = await read_sagas(scene.log, self._workload.app.name, self._workload.partitions)
        result.judge(sagas, asked)
        result.problems.extend(self._watches[SAGA].stopped())
        result.problems.extend(self._workload.misjudged(sagas, journals))

    def _chance(self, what: str) -> random.Random:
        return random.Random(f"{self._plan.seed}/{what}")
