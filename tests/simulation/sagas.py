"""Real saga partitions beside the CServers of a world, and what must hold of the transfers that they carry out."""

from collections import Counter
from collections.abc import Sequence

from bank.account import AccountRules
from bank.app import app
from bank.screening import ScreeningRules
from bank.transfer import TransferRules, TransferSaga, deposit, reverse, withdraw
from bank.v1.events_pb2 import (
    Deposited,
    TransferCompleted,
    TransferFailed,
    TransferRequested,
    WithdrawalReversed,
    Withdrawn,
)
from bennu.domain import App, Step
from bennu.ops.metrics import Metrics
from bennu.ops.readiness import Readiness
from bennu.replica.leader import Candidate
from bennu.replica.member import run_all
from bennu.replica.node import Node
from bennu.v1.saga_pb2 import SagaEnded
from bennu_saga.definitions import Definitions
from bennu_saga.member import Member
from bennu_saga.observed import Observed
from bennu_saga.state import COMPENSATION_FAILED
from tests.simulation.process import Process
from tests.simulation.truth import Truth, require, truth_of


class HastyTransferSaga(TransferSaga):
    """Gives a withdrawal up so early that it is often carried out all the same."""

    steps = (Step("withdraw", withdraw, compensation=reverse, timeout_ms=500), Step("deposit", deposit))


PATIENT = Definitions(app)
HASTY = Definitions(
    App(
        "bank",
        service=app.service,
        aggregates=(AccountRules, TransferRules, ScreeningRules),
        sagas=(HastyTransferSaga,),
    )
)


class Sagas:
    """The saga partitions of one process: they live and die with it."""

    def __init__(self, process: Process, definitions: Definitions, partitions: int) -> None:
        self._process = process
        self._definitions = definitions
        candidate = Candidate(process.name, window_count=0, window_age_ms=0)
        self._node = Node(process.log, candidate, process.group_of("saga"))
        self.members = [Member(definitions, (number, partitions), node=self._node) for number in range(partitions)]
        process.beside(self._run())

    async def _run(self) -> None:
        observed = Observed(Metrics(), Readiness(), len(self.members), definitions=self._definitions)
        stopping = self._process.stopping
        await run_all(self._node, self.members, self._process.clock, observed=observed, stopping=stopping)


class Transfers:
    """What the journals say of transfers, over all partitions."""

    def __init__(self, journals: Sequence[Truth], sagas: Sequence[Sequence[bytes]]) -> None:
        self.asked: dict[str, TransferRequested] = {}
        self.counts: Counter[tuple[str, str]] = Counter()
        for truth in journals:
            for entry in truth.entries():
                for name, raw in entry.events:
                    self._take(name, raw)
        for bodies in sagas:
            for entry in truth_of(bodies).entries():
                for name, raw in entry.events:
                    if name == SagaEnded.DESCRIPTOR.full_name:
                        self._ended(SagaEnded.FromString(raw))

    def _take(self, name: str, raw: bytes) -> None:
        event = app.events[name].message.FromString(raw)
        if isinstance(event, TransferRequested):
            self.asked[event.transfer] = event
        if transfer := str(getattr(event, "transfer", "")):
            self.counts[transfer, type(event).__name__] += 1

    def _ended(self, ended: SagaEnded) -> None:
        transfer = ended.saga_id.rpartition(":")[2]
        self.counts[transfer, "stuck"] += ended.status == COMPENSATION_FAILED

    def judge(self) -> None:
        """I8 and I9: each ended once, completed or compensated, or stands visibly half undone; no money is lost."""
        for transfer in self.asked:
            self._judge(transfer)

    def _judge(self, transfer: str) -> None:
        def times(kind: type) -> int:
            return self.counts[transfer, kind.__name__]

        moves = times(Withdrawn), times(Deposited), times(WithdrawalReversed)
        ends = times(TransferCompleted), times(TransferFailed), self.counts[transfer, "stuck"]
        require(sum(ends) == 1, "I8", f"transfer {transfer}: completed, failed, stuck: {ends}")
        legal = {0: {(1, 1, 0)}, 1: {(0, 0, 0), (1, 0, 1)}, 2: {(1, 0, 0), (0, 0, 0)}}[ends.index(1)]
        require(moves in legal, "I9", f"transfer {transfer}: withdrawn, deposited, reversed {moves}, ends {ends}")
