"""Which sagas take longer than they should: by the journaled time of their start, and their definition's level."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from itertools import islice

from bennu_saga.definitions import Definitions
from bennu_saga.fold import SagaFold
from bennu_saga.limits import SAGAS_SLICE
from bennu_saga.state import COMPENSATION_FAILED, SagaState


def is_stuck(saga: SagaState, level_ms: int, now_us: int) -> bool:
    """Whether it goes on by itself, and for longer than this level; what waits for an operator is not stuck."""
    return not saga.parked and saga.status != COMPENSATION_FAILED and now_us - saga.started_at_us > level_ms * 1000


async def stuck(fold: SagaFold, definitions: Definitions, now_us: int) -> Counter[str]:
    """How many there are, by definition.  Those that are late are looked at, and no others, in slices."""
    found = Counter[str]()
    for (name, version), ids in list(fold.by_definition.items()):
        if definition := definitions.get(name, version):
            level_ms = definition.saga.service_level_ms
            async for saga in _late(fold, ids, now_us - level_ms * 1000):
                found[name] += is_stuck(saga, level_ms, now_us)
    return found


async def _late(fold: SagaFold, ids: Iterable[str], before_us: int) -> AsyncIterator[SagaState]:
    """Those of these that started before this; they are in the order of their start, and may end meanwhile."""
    in_order = iter(list(ids))
    while part := list(islice(in_order, SAGAS_SLICE)):
        for saga in filter(None, map(fold.sagas.get, part)):
            if saga.started_at_us >= before_us:
                return
            yield saga
        await asyncio.sleep(0)
