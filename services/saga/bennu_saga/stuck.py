"""Which sagas take longer than they should: by the journaled time of their start, and their definition's level."""

from collections import Counter
from collections.abc import Iterator

from bennu_saga.definitions import Definitions
from bennu_saga.fold import SagaFold
from bennu_saga.state import COMPENSATION_FAILED, SagaState


def is_stuck(saga: SagaState, level_ms: int, now_us: int) -> bool:
    """Whether it goes on by itself, and for longer than this level; what waits for an operator is not stuck."""
    return not saga.parked and saga.status != COMPENSATION_FAILED and now_us - saga.started_at_us > level_ms * 1000


def stuck(fold: SagaFold, definitions: Definitions, now_us: int) -> Counter[str]:
    """How many there are, by definition.  Those that are late are looked at, and no others."""
    return Counter(
        name for name, level_ms, saga in _late(fold, definitions, now_us) if is_stuck(saga, level_ms, now_us)
    )


def _late(fold: SagaFold, definitions: Definitions, now_us: int) -> Iterator[tuple[str, int, SagaState]]:
    for (name, version), ids in fold.by_definition.items():
        definition = definitions.get(name, version)
        if definition is None:
            continue
        level_ms = definition.saga.service_level_ms
        for saga_id in ids:  # in the order of their start
            saga = fold.sagas[saga_id]
            if now_us - saga.started_at_us <= level_ms * 1000:
                break
            yield name, level_ms, saga
