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

    def __init__(self, log: Log, partition: Partition, inputs: Sequence[str]) -> None:
        self._log = log
        self._partition = partition
        self._inputs = inputs
        self._ends: dict[str, int] = {}
        self._asked_us = 0

    async def run(self, observed: Observed) -> None:
        """For ever."""
        loop = asyncio.get_running_loop()
        next_at = loop.time()
        while True:
            if loop.time() >= next_at or (not self._ends and self._timer_due()):
                await self._ask()
                next_at = loop.time() + SURVEY_MS / 1000
                observed.lag(self._partition.replica.state.partition, self._behind())
            if self._ends and not self._behind():
                self._partition.answers_seen_us = self._asked_us
                self._ends = {}
            self._partition.wake()
            await asyncio.sleep(TICK_MS / 1000)

    def _timer_due(self) -> bool:
        now_us = self._partition.replica.tick()
        return self._partition.timer_due(now_us)

    async def _ask(self) -> None:
        asked_us = self._partition.replica.tick()
        try:
            self._ends = {topic: (await self._log.bounds(topic))[1] for topic in self._inputs}
            self._asked_us = asked_us
        except Unavailable:
            return  # the log is away: its readers say so, and no timer fires meanwhile

    def _behind(self) -> int:
        """Records between what was reacted to and the ends that were asked for."""
        seen = self._partition.seen
        return sum(max(0, end - seen.get(topic, 0)) for topic, end in self._ends.items())
