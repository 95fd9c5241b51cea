"""Sagas of any shape, under answers of any kind: each ends, and what it did and undid fits together."""

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from bank.transfer import deposit, reverse, withdraw
from bennu.domain import NOTHING, Parallel, Retry, Step, Tcc
from bennu.v1.saga_pb2 import SagaCommandAnswered, SagaCommandIssued, SagaEnded, SagaStatus
from bennu.wire.reasons import NOTHING_TO_COMPENSATE
from bennu_saga.fold import Record, SagaFold
from bennu_saga.state import COMPENSATION, FORWARD, RETRY
from tests.saga.story import Story, saga
from tests.saga.test_fold import memory_of, replay, replayed

SEED = 20_261_125


class Shapes:
    """Draws declarations."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._names = 0

    def any(self) -> list[Any]:
        """Steps, groups and tries, perhaps a pivot, perhaps more after it."""
        parts = [self._part(2) for _ in range(self._chance.randint(1, 3))]
        if self._chance.random() < 0.6:
            parts.append(Step(self._name(), deposit, pivot=True))
            parts += [self._after() for _ in range(self._chance.randint(0, 2))]
        return parts

    def _part(self, depth: int) -> Any:  # noqa: ANN401 - a part of a saga
        kind = self._chance.random()
        if depth and kind < 0.25:
            return Parallel(*(self._part(depth - 1) for _ in range(self._chance.randint(1, 3))))
        if depth and kind < 0.35:
            return tuple(self._part(depth - 1) for _ in range(self._chance.randint(1, 2)))
        if kind < 0.5:
            return Tcc(self._name(), withdraw, confirm=deposit, cancel=reverse, timeout_ms=self._timeout_ms())
        timeout_ms = self._timeout_ms()
        return Step(
            self._name(),
            withdraw,
            compensation=reverse if self._chance.random() < 0.8 else NOTHING,
            timeout_ms=timeout_ms,
            retry=Retry(limit=self._chance.randint(0, 2) if timeout_ms else 0),
            undo_retry=Retry(limit=self._chance.randint(0, 2)),
            when=(lambda _asked: False) if self._chance.random() < 0.1 else None,
        )

    def _after(self) -> Step:
        return Step(self._name(), deposit, timeout_ms=self._timeout_ms(), retry=Retry(limit=1))

    def _timeout_ms(self) -> int:
        return self._chance.choice((0, 60_000))

    def _name(self) -> str:
        self._names += 1
        return f"s{self._names}"


def lived(seed: int) -> Story:
    """A saga from its start to its end; whatever parks it, an operator lets it go on."""
    chance = Random(seed)
    story = Story(saga(*Shapes(chance).any()))
    story.starts()
    for _ in range(500):
        if not story.fold.running:
            return story
        waiting = sorted(story.fold.awaiting)
        timer = story.fold.next_timer()
        parked = any(each.parked for each in story.fold.sagas.values())
        if parked and (chance.random() < 0.3 or not waiting):
            story.operates(RETRY)
        elif timer is not None and (not waiting or chance.random() < 0.3):
            story.times_out()
        elif chance.random() < 0.7:
            story.accepts(chance.choice(waiting))
        else:
            story.refuses(chance.choice(("no", NOTHING_TO_COMPENSATE)), chance.choice(waiting))
    raise AssertionError("it does not end")


class Effects:
    """What the records say of each step."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.issued: dict[str, SagaCommandIssued] = {}
        self.done: list[int] = []
        """Carried out, in the order of their answers."""
        self.refused: set[int] = set()
        self.undone: list[int] = []
        for record in records:
            if isinstance(record, SagaCommandIssued):
                self.issued[record.command_id] = record
            if isinstance(record, SagaCommandAnswered):
                self._answered(self.issued[record.command_id], record)

    def _answered(self, command: SagaCommandIssued, record: SagaCommandAnswered) -> None:
        if command.role == FORWARD:
            if record.accepted:
                self.done.append(command.step)
            else:
                self.refused.add(command.step)
        if command.role == COMPENSATION and (record.accepted or record.reason == NOTHING_TO_COMPENSATE):
            self.undone.append(command.step)

    @property
    def possible(self) -> set[int]:
        """Steps that may have had an effect: asked for, and not refused."""
        asked = {command.step for command in self.issued.values() if command.role == FORWARD}
        return asked - (self.refused - set(self.done))


@pytest.mark.parametrize("block", range(10))
def test_what_a_saga_did_and_undid_fits_together(block: int) -> None:
    """Completed: every step once, none undone.  Compensated: all that may have had an effect, once each, last first."""
    ends: Counter[int] = Counter()
    for seed in range(SEED + 50 * block, SEED + 50 * (block + 1)):
        print(f"seed {seed}")
        story = lived(seed)
        (ended,) = (each for each in story.records if isinstance(each, SagaEnded))
        ends[ended.status] += 1
        plan, found = story.plan, Effects(story.records)
        assert len(set(found.done)) == len(found.done)
        assert len(set(found.undone)) == len(found.undone)
        if ended.status == SagaStatus.SAGA_STATUS_COMPLETED:
            assert set(found.done) == {index for index, step in enumerate(plan) if step.when is None}
            assert found.undone == []
        if ended.status == SagaStatus.SAGA_STATUS_COMPENSATED:
            assert set(found.undone) == {index for index in found.possible if plan[index].compensation is not None}
            known = [index for index in found.undone if index in found.done]
            assert known == [index for index in reversed(found.done) if index in known]
        for index in found.possible:
            assert all(before in found.done or plan[before].when for before in plan[index].after)
    assert len(ends) >= 2, f"chance drew one kind of end only: {ends}"


@pytest.mark.parametrize("seed", range(SEED, SEED + 40))
def test_a_replay_gives_what_the_leader_has(seed: int) -> None:
    """After every record: states, awaited commands, timers and digest are those of who decided."""
    print(f"seed {seed}")
    story = lived(seed)
    fold = SagaFold()
    replay(story, slice(None), onto=fold)
    assert memory_of(fold) == memory_of(story.fold)
    assert fold.digest() == story.fold.digest()
    halfway = len(story.records) // 2
    assert replayed(story.records[:halfway]).sagas.keys() == {"Told:t"}
