"""kill -9 of one part again and again, and of the others beside it, each started again after a moment."""

import asyncio
import random
from collections.abc import Callable, Mapping

from bennu.drill.limits import DOWN_MAX_S
from bennu.drill.nodes import Cluster
from bennu.drill.watch import Watch

BROKER = "broker"
BROKER_TIMES = 2
"""Everybody waits for it while it boots, and once it is back they are to get on for a while."""


class Kills:
    """Of the node of each service that leads most, and of the broker if there is one."""

    def __init__(
        self, cluster: Cluster, watches: Mapping[str, Watch], every_s: float, *, chance: Callable[[str], random.Random]
    ) -> None:
        """`watches` by service; `chance` for a purpose, so that no part's kills depend on another's."""
        self.counts = dict.fromkeys(watches, 0) | ({} if cluster.broker is None else {BROKER: 0})
        self._cluster = cluster
        self._watches = watches
        self._every_s = every_s
        self._chances = {part: chance(f"kills/{part}") for part in self.counts}
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def run(self, part: str, say: Callable[[str], object]) -> None:
        """For ever, whether all is well again or not."""
        while True:
            pause_s = self._every_s * (BROKER_TIMES if part == BROKER else 1)
            await asyncio.sleep(pause_s * self._chances[part].uniform(0.5, 1.5))
            kill = self._under_way[part] = asyncio.create_task(self._kill(part, say))
            kill.add_done_callback(lambda done: done.cancelled() or done.exception())  # or it is said to be lost
            await asyncio.shield(kill)  # what was killed is started again all the same

    async def finish(self) -> None:
        """Until nothing is down; for whoever has cancelled `run`."""
        await asyncio.gather(*self._under_way.values())

    async def _kill(self, part: str, say: Callable[[str], object]) -> None:
        self.counts[part] += 1
        down_s = self._chances[part].uniform(0, DOWN_MAX_S)
        name = part if part == BROKER else self._leads_most(part)
        say(f"kill -9 of {name}, for {down_s:.1f} s")
        if part == BROKER:
            assert self._cluster.broker is not None
            await asyncio.to_thread(self._cluster.broker.kill)
            await asyncio.sleep(down_s)
            await asyncio.to_thread(self._cluster.broker.start)
        else:
            await self._cluster.nodes.kill(name)
            await asyncio.sleep(down_s)
            await self._cluster.nodes.restart(name)

    def _leads_most(self, service: str) -> str:
        led = {node: len(self._watches[service].led_by(node)) for node in self._cluster.nodes.of(service)}
        return self._chances[service].choice([node for node, number in led.items() if number == max(led.values())])
