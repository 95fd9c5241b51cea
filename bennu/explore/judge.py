"""What must hold when an exploration's path is over, read from the journals alone.

A saga that is parked, or ends in compensation_failed, is excused where the exploration itself brought that about: it
refused this very command, or let the step's time run out.  All else that stands still is the app's own doing.
"""

from collections import Counter
from collections.abc import Generator, Iterator, Sequence

from bennu.domain.app import App
from bennu.domain.plan import Plan, before
from bennu.domain.scenario import Scenario, States
from bennu.explore.failures import said
from bennu.explore.processes import REFUSAL, batches
from bennu.explore.records import SagaRecords
from bennu.explore.values import Path, World
from bennu.explore.world import Model
from bennu.replica.decision import EVENT, REJECTED
from bennu.v1.command_pb2 import Rejection
from bennu.v1.saga_pb2 import SagaCommandIssued, SagaEnded
from bennu.wire.reasons import RULE_FAILED
from bennu_saga.state import (
    COMPENSATED,
    COMPENSATION,
    COMPENSATION_FAILED,
    COMPLETED,
    FORWARD,
    READY,
    SagaState,
)

ENDS = {COMPLETED: "completed", COMPENSATED: "compensated", COMPENSATION_FAILED: "compensation_failed"}
SILENCE = ("fire", "away")
"""Faults by which a step's time runs out."""


class Judged:
    """How a path ended, and what is wrong with it."""

    def __init__(self, model: Model, world: World, path: Path) -> None:
        self._model = model
        self._world = world
        self._silenced = any(event.fault and event.kind in SILENCE for event in path)
        self._records = SagaRecords(model, world)
        self._refused: dict[tuple[str, int, int], str] = {}
        """By saga, step and role: the last reason of a refusal, or `REFUSAL` if there is one of the exploration's."""
        self._excused = False
        self.ends = Counter(ENDS.get(each.status, "resolved") for each in self._records.ended.values())
        self.wrong = list(self._problems())

    def _problems(self) -> Iterator[str]:
        if not self._records.started:
            yield "no saga was started"
            return
        accepted = yield from self._decisions()
        yield from self._unended()
        for saga_id, ended in self._records.ended.items():
            yield from self._effects(saga_id, ended, accepted)
        yield from self._keys()
        if not self._excused:
            yield from checked(self._model.scenario, self._model.states(self._world))

    def _unended(self) -> Iterator[str]:
        fold = self._model.sagas(self._world).fold
        expected = self._model.scenario.ends
        for saga_id, saga in fold.sagas.items():
            if saga.parked:
                self.ends["parked"] += 1
                if not self._is_excused(saga_id, saga, saga.parked_step) and "parked" not in expected:
                    yield f"{saga_id} is parked, and no fault explains it: {saga.parked}"
            elif saga_id not in self._records.ended:
                yield f"{saga_id} is stuck: it waits for {', '.join(fold.awaiting) or 'nothing'}, and nothing comes"
            elif saga.status == COMPENSATION_FAILED:
                index = next(n for n, each in enumerate(saga.steps) if (each.role, each.phase) == (COMPENSATION, READY))
                if not self._is_excused(saga_id, saga, index) and "compensation_failed" not in expected:
                    name, reason = self._plan(saga_id)[index].name, self._refused.get((saga_id, index, COMPENSATION))
                    why = f"the compensation of step `{name}` is refused with {reason}"
                    yield f"{saga_id} ends in compensation_failed, and no fault explains it: {why}"

    def _is_excused(self, saga_id: str, saga: SagaState, index: int) -> bool:
        """Whether this step is what the exploration itself brought to a stand."""
        refused = self._refused.get((saga_id, index, saga.at(index).role))
        explained = refused == REFUSAL or (refused is None and self._silenced)
        found = explained and not saga.parked.startswith(RULE_FAILED)
        self._excused = self._excused or found
        return found

    def _decisions(self) -> Generator[str, None, list[SagaCommandIssued]]:
        """What is wrong with them; returns the commands that were accepted."""
        accepted: list[SagaCommandIssued] = []
        seen: set[str] = set()
        for place, journal in zip(self._model.places, self._world.events, strict=True):
            for batch in batches(place.events, journal):
                replies = iter(batch.replies)
                for command_id, outcome in zip(batch.command_ids, batch.outcomes, strict=True):
                    reply = b"" if outcome == EVENT else next(replies)
                    issued = self._records.issued.get(command_id)
                    if issued is None:
                        continue
                    if command_id in seen:
                        yield f"{command_id} was decided twice"
                    seen.add(command_id)
                    if outcome < REJECTED:
                        accepted.append(issued)
                    else:
                        self._was_refused(issued, Rejection.FromString(reply).reason)
        return accepted

    def _was_refused(self, issued: SagaCommandIssued, reason: str) -> None:
        what = (issued.saga_id, issued.step, int(issued.role))
        if self._refused.get(what) != REFUSAL:
            self._refused[what] = reason

    def _effects(self, saga_id: str, ended: SagaEnded, accepted: Sequence[SagaCommandIssued]) -> Iterator[str]:
        plan = self._plan(saga_id)
        mine = [each for each in accepted if each.saga_id == saga_id]
        done = Counter(each.step for each in mine if each.role == FORWARD)
        undone = Counter(each.step for each in mine if each.role == COMPENSATION)
        for index, step in enumerate(plan):
            where = f"{saga_id}: step `{step.name}`"
            if done[index] > 1 or undone[index] > 1:
                yield f"{where} was carried out {done[index]} times and undone {undone[index]} times"
            wanted = index not in self._records.left_out[saga_id]
            if ended.status == COMPLETED and (done[index] != wanted or undone[index]):
                yield f"{where} of a completed saga was carried out {done[index]} times, undone {undone[index]} times"
            if ended.status == COMPENSATED and step.compensation is not None and done[index] != undone[index]:
                yield f"{where} of a compensated saga was carried out {done[index]} times, undone {undone[index]} times"
        if ended.status == COMPENSATED:
            yield from self._order(saga_id, plan)

    def _order(self, saga_id: str, plan: Plan) -> Iterator[str]:
        """A step is undone only once all that came after it are."""
        issued = self._records.issued.values()
        sent = [each.step for each in issued if each.saga_id == saga_id and each.role == COMPENSATION]
        order = list(dict.fromkeys(sent))
        for position, index in enumerate(order):
            for later in order[position + 1 :]:
                if index in before(plan, plan[later]):
                    names = f"`{plan[index].name}` was undone before `{plan[later].name}`"
                    yield f"{saga_id}: {names}, which came after it"

    def _keys(self) -> Iterator[str]:
        """A step that may be given up is undone in the partition that it was done in: so both have one key."""
        asked: dict[tuple[str, int], str] = {}
        for issued in self._records.issued.values():
            if issued.role not in (FORWARD, COMPENSATION):
                continue
            step, key = self._plan(issued.saga_id)[issued.step], _key(self._model.app, issued)
            first = asked.setdefault((issued.saga_id, issued.step), key)
            if step.timeout_ms and step.compensation and first != key:
                yield (
                    f"step `{step.name}` has a time limit, but its compensation goes to `{key}` and its command to "
                    f"`{first}`: where these are in different partitions, the saga parks once the step is given up"
                )

    def _plan(self, saga_id: str) -> Plan:
        return self._records.plan(saga_id)


def checked(scenario: Scenario, states: States) -> Iterator[str]:
    """What the scenario's own check has to say of these states."""
    there = ", ".join(states)
    try:
        found: object = scenario.check(states)  # type: ignore[func-returns-value]  # that it gives nothing is looked at
    except AssertionError as error:
        yield f"check: {error}" if str(error) else f"check: {said(error)}"
    except Exception as error:  # a check may be as wrong as what it checks
        yield f"check of scenario {scenario.name} raised {said(error)}; states has {there}"
    else:
        if found is not None:
            yield f"check of scenario {scenario.name} gives {found!r}; it says what is wrong by `assert` alone"


def _key(app: App, issued: SagaCommandIssued) -> str:
    (rule,) = (each.commands[issued.type] for each in app.apps if issued.type in each.commands)
    return rule.key(rule.message.FromString(issued.payload))
