"""What must hold when an exploration's path is over, read from the journals alone."""

from collections import Counter, defaultdict
from collections.abc import Generator, Iterator, Sequence

from bennu.domain.plan import Plan, before
from bennu.explore.processes import batches
from bennu.explore.world import Model, World
from bennu.replica.fold import REJECTED
from bennu.v1.saga_pb2 import SagaCommandIssued, SagaEnded, SagaStarted, SagaStepLeftOut
from bennu_saga.state import COMPENSATED, COMPENSATION, COMPENSATION_FAILED, COMPLETED, FORWARD

ENDS = {COMPLETED: "completed", COMPENSATED: "compensated", COMPENSATION_FAILED: "compensation_failed"}


class Judged:
    """How a path ended, and what is wrong with it."""

    def __init__(self, model: Model, world: World) -> None:
        self._model = model
        self._world = world
        self._started: dict[str, SagaStarted] = {}
        self._ended: dict[str, SagaEnded] = {}
        self._issued: dict[str, SagaCommandIssued] = {}
        self._left_out: defaultdict[str, set[int]] = defaultdict(set)
        self._read_saga_journal()
        self.ends = Counter(ENDS.get(each.status, "resolved") for each in self._ended.values())
        self.wrong = list(self._problems())

    def _read_saga_journal(self) -> None:
        for batch in batches(f"{self._model.app.name}-saga-0", self._world.sagas):
            for index, raw in zip(batch.event_type_indexes, batch.events, strict=True):
                kind = batch.event_types[index].rpartition(".")[2]
                if kind == "SagaStarted":
                    started = SagaStarted.FromString(raw)
                    self._started[started.saga_id] = started
                elif kind == "SagaEnded":
                    ended = SagaEnded.FromString(raw)
                    self._ended[ended.saga_id] = ended
                elif kind == "SagaCommandIssued":
                    issued = SagaCommandIssued.FromString(raw)
                    self._issued[issued.command_id] = issued
                elif kind == "SagaStepLeftOut":
                    left_out = SagaStepLeftOut.FromString(raw)
                    self._left_out[left_out.saga_id].add(left_out.step)

    def _problems(self) -> Iterator[str]:
        if not self._started:
            yield "no saga was started"
        yield from self._unended()
        accepted = yield from self._decisions()
        for saga_id, ended in self._ended.items():
            yield from self._effects(saga_id, ended, accepted)
        if self.ends["compensation_failed"] or self.ends["parked"]:
            return  # it stands half done, and says so
        try:
            self._model.scenario.check(self._model.states(self._world))
        except AssertionError as error:
            yield f"check: {error}"

    def _unended(self) -> Iterator[str]:
        fold = self._model.sagas(self._world).fold
        for saga_id, saga in fold.sagas.items():
            if saga.parked:
                self.ends["parked"] += 1
            elif saga_id not in self._ended:
                yield f"{saga_id} is stuck: it waits for {', '.join(fold.awaiting) or 'nothing'}, and nothing comes"

    def _decisions(self) -> Generator[str, None, list[SagaCommandIssued]]:
        """What is wrong with them; returns the commands that were accepted."""
        accepted: list[SagaCommandIssued] = []
        seen: set[str] = set()
        for place, journal in zip(self._model.places, self._world.events, strict=True):
            for batch in batches(place.events, journal):
                for command_id, outcome in zip(batch.command_ids, batch.outcomes, strict=True):
                    if command_id not in self._issued:
                        continue
                    if command_id in seen:
                        yield f"{command_id} was decided twice"
                    seen.add(command_id)
                    if outcome < REJECTED:
                        accepted.append(self._issued[command_id])
        return accepted

    def _effects(self, saga_id: str, ended: SagaEnded, accepted: Sequence[SagaCommandIssued]) -> Iterator[str]:
        plan = self._plan(saga_id)
        mine = [each for each in accepted if each.saga_id == saga_id]
        done = Counter(each.step for each in mine if each.role == FORWARD)
        undone = Counter(each.step for each in mine if each.role == COMPENSATION)
        for index, step in enumerate(plan):
            where = f"{saga_id}: step `{step.name}`"
            if done[index] > 1 or undone[index] > 1:
                yield f"{where} was carried out {done[index]} times and undone {undone[index]} times"
            wanted = index not in self._left_out[saga_id]
            if ended.status == COMPLETED and (done[index] != wanted or undone[index]):
                yield f"{where} of a completed saga was carried out {done[index]} times, undone {undone[index]} times"
            if ended.status == COMPENSATED and step.compensation is not None and done[index] != undone[index]:
                yield f"{where} of a compensated saga was carried out {done[index]} times, undone {undone[index]} times"
        if ended.status == COMPENSATED:
            yield from self._order(saga_id, plan)

    def _order(self, saga_id: str, plan: Plan) -> Iterator[str]:
        """A step is undone only once all that came after it are."""
        sent = [each.step for each in self._issued.values() if each.saga_id == saga_id and each.role == COMPENSATION]
        order = list(dict.fromkeys(sent))
        for position, index in enumerate(order):
            for later in order[position + 1 :]:
                if index in before(plan, plan[later]):
                    names = f"`{plan[index].name}` was undone before `{plan[later].name}`"
                    yield f"{saga_id}: {names}, which came after it"

    def _plan(self, saga_id: str) -> Plan:
        started = self._started[saga_id]
        definition = self._model.definitions.get(started.definition, started.version)
        assert definition is not None, "it was started by it"
        return definition.plan
