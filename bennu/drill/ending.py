"""What is asked and read when the load has ended, and whether it is as it must be."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from bennu.domain.app import App
from bennu.drill import checks
from bennu.drill.calls import OK, Query, query_of
from bennu.drill.journals import Journal, read_journal
from bennu.drill.limits import HEALED_WITHIN_S, REPEATS, WHOLE_TIMEOUT_S
from bennu.drill.load import Load, some_at_a_time
from bennu.drill.result import Result
from bennu.drill.watch import Watch
from bennu.drill.workload import Workload
from bennu.errors import Diverged
from bennu.log.port import Log


@dataclass(frozen=True)
class Scene:
    """What the judge needs."""

    workload: Workload
    log: Log
    watch: Watch
    load: Load
    shared: bool
    """Others use this cluster, too."""


async def judge(result: Result, scene: Scene, chance: random.Random) -> list[Journal]:
    """Fill in the result; the journals that it rests on, none if a replay of one differs from what it says.

    Raises `JournalBroken` and `RecordBroken` for a journal that has no legal history (I4).
    """
    workload, load = scene.workload, scene.load
    calls = [call for call in load.calls if call.answer is not None]
    wanted = chance.sample(calls, min(REPEATS, len(calls)))
    repeats = await load.again([call.command for call in wanted])
    try:
        journals = [await read_journal(scene.log, workload.app, number) for number in range(workload.partitions)]
    except Diverged as difference:
        result.problems.append(str(difference))
        return []
    result.findings = checks.judge(load.calls, journals, name=workload.name if scene.shared else "")
    checks.judge_repeats(result.findings, load.calls, repeats)
    _count(result, load, journals, repeated=len(repeats))
    unequal = await _unequal(scene, journals)
    result.digests_equal = not unequal
    wrong_money = workload.conserved(load.calls, journals)
    result.money_conserved = not wrong_money
    result.problems += [*result.findings.sentences(), *unequal, *wrong_money, *_late(result)]
    return journals


def _count(result: Result, load: Load, journals: Sequence[Journal], *, repeated: int) -> None:
    answers = [call.answer for call in load.calls if call.answer is not None]
    result.acknowledged = len(answers)
    result.refused = sum(answer.code != OK for answer in answers)
    result.retried = sum(call.attempts > 1 for call in load.calls)
    result.repeated = repeated
    result.made_void = sum(len(journal.void) for journal in journals)
    result.latency_ms = [call.latency_s * 1000 for call in load.calls if call.answer is not None]


def _late(result: Result) -> list[str]:
    """I11."""
    return [
        f"run {number}: {HEALED_WITHIN_S:.0f} s after the fault had healed, not every partition had answered"
        for number, run in enumerate(result.runs, 1)
        if run.healed_ms is not None and run.healed_ms > HEALED_WITHIN_S * 1000
    ]


async def _unequal(scene: Scene, journals: Sequence[Journal]) -> list[str]:
    """Where a node's memory is not what a replay gives (I5).

    Followers compare each digest in the journal as they read it, and stop where one differs; so does the replay that
    was just made.  Beyond that, each node is asked for states, and answers from its own memory.
    """
    workload, watch = scene.workload, scene.watch
    nodes = sorted(watch.addresses())
    ends = [journal.end for journal in journals]
    await watch.until(lambda: watch.at_end(nodes, ends), WHOLE_TIMEOUT_S, what="all nodes have read to the end")
    found = watch.stopped()
    for journal in journals:
        if journal.replay.state is None or not journal.replay.state.agreement.compared:
            found.append(f"{journal.topic} has no digest of states that could be compared")
    queries = [query_of(workload.app, workload.partitions, message) for message in workload.queries()]

    async def ask(node: str, query: Query) -> None:
        journal = journals[query.partition]
        told = await scene.load.ask(
            node, query.method, query.message.SerializeToString(), metadata=(("bennu-min-position", journal.end.token),)
        )
        expected = _replayed(workload.app, journal, query)
        if told is None or (told.code, told.reply) != (OK, expected):
            found.append(f"{node} answers {query.message} with {told}, a replay with {expected!r}")

    await some_at_a_time([partial(ask, node, query) for node in nodes for query in queries])
    return found


def _replayed(app: App, journal: Journal, query: Query) -> bytes:
    rule = app.queries[query.message.DESCRIPTOR.full_name]
    return journal.replay.fold.answer(rule, query.message).answer
