"""The journal of sagas of a world, by what its records say."""

from collections import defaultdict

from bennu.domain.plan import Plan
from bennu.explore.processes import batches
from bennu.explore.values import World
from bennu.explore.world import Model
from bennu.v1.saga_pb2 import SagaCommandIssued, SagaEnded, SagaStarted, SagaStepLeftOut


class SagaRecords:
    """Which sagas started, how they ended, and which commands they issued."""

    def __init__(self, model: Model, world: World) -> None:
        self._definitions = model.definitions
        self.started: dict[str, SagaStarted] = {}
        self.ended: dict[str, SagaEnded] = {}
        self.issued: dict[str, SagaCommandIssued] = {}
        """By the id of the command."""
        self.left_out: defaultdict[str, set[int]] = defaultdict(set)
        for batch in batches(f"{model.app.name}-saga-0", world.sagas):
            for index, raw in zip(batch.event_type_indexes, batch.events, strict=True):
                self._take(batch.event_types[index].rpartition(".")[2], raw)

    def _take(self, kind: str, raw: bytes) -> None:
        if kind == "SagaStarted":
            started = SagaStarted.FromString(raw)
            self.started[started.saga_id] = started
        elif kind == "SagaEnded":
            ended = SagaEnded.FromString(raw)
            self.ended[ended.saga_id] = ended
        elif kind == "SagaCommandIssued":
            issued = SagaCommandIssued.FromString(raw)
            self.issued[issued.command_id] = issued
        elif kind == "SagaStepLeftOut":
            left_out = SagaStepLeftOut.FromString(raw)
            self.left_out[left_out.saga_id].add(left_out.step)

    def plan(self, saga_id: str) -> Plan:
        """What the saga began with."""
        started = self.started[saga_id]
        definition = self._definitions.get(started.definition, started.version)
        assert definition is not None, "it was started by it"
        return definition.plan
