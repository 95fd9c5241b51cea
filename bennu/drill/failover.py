"""The rehearsal itself: a load, a fault every few seconds, and then the checks."""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf

from google.protobuf.message import Message

from bennu import log
from bennu.drill import ending
from bennu.drill.beside import beside
from bennu.drill.calls import Call, Command, commands_of
from bennu.drill.ending import Scene
from bennu.drill.faults import Fault, FaultKind, fault_of
from bennu.drill.gaps import FirstAnswers, Silence
from bennu.drill.limits import ASK_AGAIN_S, GAP_TIMEOUT_S, HEALED_WITHIN_S, WHOLE_TIMEOUT_S
from bennu.drill.load import Load
from bennu.drill.nodes import Nodes
from bennu.drill.result import Result, Run
from bennu.drill.watch import Watch
from bennu.drill.workload import Workload
from bennu.errors import Unavailable
from bennu.log.port import Log

Say = Callable[[str], object]


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    fault: FaultKind
    runs: int
    rate: float
    every_s: float
    seed: int


@dataclass(frozen=True)
class Target:
    """The cluster that is hit.  `nodes` is None for one that the drill did not start: it can only be asked nicely."""

    log_url: str
    nodes: Nodes | None = None


async def drill(plan: Plan, target: Target, workload: Workload, *, say: Say) -> Result:
    """All runs, and all checks.  Raises `Unavailable` when the drill itself can't go on."""
    async with log.open(target.log_url) as opened:
        watch = Watch(opened, workload.app.name, workload.partitions)
        others = [watch.run()] if target.nodes is None else [watch.run(), target.nodes.watch()]
        return await beside(_Drill(plan, target, workload, log=opened, watch=watch).run(say), *others)


class _Drill:
    """From the first account to the verdict."""

    def __init__(self, plan: Plan, target: Target, workload: Workload, *, log: Log, watch: Watch) -> None:
        self._plan = plan
        self._target = target
        self._workload = workload
        self._log = log
        self._watch = watch

    async def run(self, say: Say) -> Result:
        least = 2 if self._target.nodes is None else len(self._target.nodes.services)
        await self._watch.until(
            lambda: len(self._watch.live()) >= least, WHOLE_TIMEOUT_S, what=f"{least} nodes are live"
        )
        async with Load(self._watch.addresses(), chance=self._chance("pauses")) as load:
            runs = _Runs(self._plan, self._target, self._workload, load=load, watch=self._watch)
            result = await self._under_load(runs, load, say)
            say("the load has ended; now every answer is judged against the journals ...")
            scene = Scene(self._workload, self._log, self._watch, load, shared=self._target.nodes is None)
            await ending.judge(result, scene, self._chance("repeats"))
            return result

    async def _under_load(self, runs: "_Runs", load: Load, say: Say) -> Result:
        await runs.wait_whole()
        for step in self._workload.prepare():
            await load.all_of(self._commands(step))
        result = Result()
        await beside(runs.all(result, say), load.run(self._commands(self._workload.commands()), self._plan.rate))
        await load.settle()
        await runs.wait_whole()
        return result

    def _commands(self, messages: Iterable[tuple[str, Message]]) -> Iterator[Command]:
        return commands_of(self._workload.app, self._workload.partitions, messages)

    def _chance(self, what: str) -> random.Random:
        return random.Random(f"{self._plan.seed}/{what}")


class _Runs:
    """One fault after another."""

    def __init__(self, plan: Plan, target: Target, workload: Workload, *, load: Load, watch: Watch) -> None:
        self._plan = plan
        self._target = target
        self._workload = workload
        self._load = load
        self._watch = watch
        self._nodes = sorted(watch.addresses())
        self._chance = random.Random(f"{plan.seed}/faults")

    async def wait_whole(self) -> None:
        """Until every node is live and leads or follows each partition."""
        what = f"{', '.join(self._nodes)} all lead or follow"
        await self._watch.until(lambda: self._watch.whole(self._nodes), WHOLE_TIMEOUT_S, what=what)

    async def all(self, result: Result, say: Say) -> None:
        """Every run, each at its time, or as soon as the cluster is whole again."""
        begin_s = time.monotonic()
        for number in range(self._plan.runs):
            due_s = begin_s + (number + 0.5) * self._plan.every_s
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            await self.wait_whole()
            first = len(self._load.calls)
            run = await self._handover(first) if self._plan.fault is FaultKind.HANDOVER else await self._fault(number)
            result.runs.append(run)
            say(f"run {number + 1} of {self._plan.runs}: {run.sentence()}")

    def _victim(self) -> str:
        """Who leads most; among several, one of them by chance."""
        led = {node: len(self._watch.led_by(node)) for node in self._nodes}
        return self._chance.choice([node for node, number in led.items() if number == max(led.values())])

    async def _fault(self, number: int) -> Run:
        assert self._target.nodes is not None
        victim = self._victim()
        led = self._watch.led_by(victim)
        fault = fault_of(self._plan.fault, self._target.nodes, victim, number=number, chance=self._chance)
        begin = len(self._load.calls)
        gap = self._first_answers(led)
        healed = await self._through(fault, gap)
        await gap.wait(GAP_TIMEOUT_S)
        await healed.wait(HEALED_WITHIN_S)
        for watcher in (gap, healed):
            self._load.watchers.remove(watcher)
        worst_s, partition = gap.worst
        text = f"{fault.text}, which led {' '.join(map(str, led))}"
        return Run(text, worst_s * 1000, partition, healed.worst[0] * 1000, slowest_ms(self._load.calls[begin:]))

    async def _through(self, fault: Fault, gap: FirstAnswers) -> FirstAnswers:
        """Strike, wait, heal; the watcher of what succeeds from then on."""
        await fault.strike()
        try:
            if fault.lasts_s is None:
                await gap.wait(GAP_TIMEOUT_S)
            else:
                await asyncio.sleep(fault.lasts_s)
        finally:
            await fault.heal()
        return self._first_answers(range(self._workload.partitions))

    def _first_answers(self, partitions: Sequence[int]) -> FirstAnswers:
        watcher = FirstAnswers(time.monotonic(), partitions)
        self._load.watchers.append(watcher)
        return watcher

    async def _handover(self, first: int) -> Run:
        """One partition of the node that leads most, to another one: the silence around the change of leaders."""
        victim = self._victim()
        number = self._chance.choice(self._watch.led_by(victim))
        heir = self._chance.choice([node for node in self._nodes if node != victim])
        silence = Silence(time.monotonic(), number)
        self._load.watchers.append(silence)
        text = f"{victim} hands partition {number} over to {heir}"
        await self._hand_over(number, heir, what=text)
        _, epoch = self._watch.leader(number)
        last_no = await self._watch.release_of(number, epoch - 1)
        if last_no is None:
            text, gap_s = f"{text}, but was taken for dead meanwhile", inf
        else:
            async with asyncio.timeout(GAP_TIMEOUT_S):
                gap_s = await silence.around(last_no)
        self._load.watchers.remove(silence)
        return Run(text, gap_s * 1000, number, None, slowest_ms(self._load.calls[first:]))

    async def _hand_over(self, number: int, heir: str, *, what: str) -> None:
        """Ask until it is done: a leader does not heed a request for a node that it has not heard of lately."""
        until_s = time.monotonic() + GAP_TIMEOUT_S
        while True:
            await self._watch.ask_handover(number, heir)
            try:
                return await self._watch.until(lambda: self._watch.leader(number)[0] == heir, ASK_AGAIN_S, what=what)
            except Unavailable:
                if time.monotonic() > until_s:
                    raise


def slowest_ms(calls: Sequence[Call]) -> float:
    """The longest wait so far; what is still under way waits at least until now."""
    now_s = time.monotonic()
    waits = (call.latency_s if call.answer is not None else now_s - call.intended_s for call in calls)
    return max(waits, default=inf) * 1000
