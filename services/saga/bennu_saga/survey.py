"""The ends of the input journals: how far this service lags, and whether a timer may fire.

A timer says that no answer was journaled in time.  After a pause of this service, or of the log, answers may wait to
be read, and a step must not be undone because nobody looked.  So a due timer fires only once everything has been
read up to an end that was asked for after the timer was due.
"""

import asyncio
from collections.abc import Sequence

from bennu.errors import Unavailable
from bennu.log.port import Log
from bennu_saga.limits import SURVEY_MS, TICK_MS
from bennu_saga.observed import Observed
from bennu_saga.saga_loop import Partition


class Survey:
    """Wakes `partition` at every tick, and surveys its inputs from time to time and when a timer is due."""

    def __init__(self, log: Log, partition: Partition, inputs: Sequence[str], *, observed: Observed) -> None:
        self._log = log
        self._partition = partition
        self._inputs = inputs
        self._observed = observed
        self._ends: dict[str, int] = {}
        """To be read up to before timers may fire; never moved on until then, or a constant lag would keep them."""
        self._asked_us = 0

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_time())
            group.create_task(self._count())

    async def _count(self) -> None:
        """What time alone brings about, from time to time; apart, for timers must not wait while very many are late."""
        partition = self._partition
        while True:
            await self._observed.look(partition.replica.state.partition, partition.fold, partition.replica.tick())
            await asyncio.sleep(SURVEY_MS / 1000)

    async def _keep_time(self) -> None:
        loop = asyncio.get_running_loop()
        next_at = loop.time()
        while True:
            if loop.time() >= next_at or (not self._ends and self._timer_due()):
                await self._ask()
                next_at = loop.time() + SURVEY_MS / 1000
            if self._ends and not self._behind(self._ends):
                self._partition.answers_seen_us = self._asked_us
                self._ends = {}
            self._partition.wake()
            await asyncio.sleep(TICK_MS / 1000)

    def _timer_due(self) -> bool:
        now_us = self._partition.replica.tick()
        return self._partition.timer_due(now_us)

    async def _ask(self) -> None:
        number, asked_us = self._partition.replica.state.partition, self._partition.replica.tick()
        try:
            ends = {topic: (await self._log.bounds(topic))[1] for topic in self._inputs}
        except Unavailable as error:  # its readers say so in the log, and no timer fires meanwhile
            self._observed.log_away(number, str(error))
            return
        self._observed.log_answers(number)
        self._observed.lag(number, self._behind(ends))
        if not self._ends:
            self._ends, self._asked_us = ends, asked_us

    def _behind(self, ends: dict[str, int]) -> int:
        """Records between what was reacted to and these ends."""
        seen = self._partition.seen
        return sum(max(0, end - seen.get(topic, 0)) for topic, end in ends.items())
