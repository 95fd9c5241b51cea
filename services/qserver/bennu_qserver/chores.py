"""Carries out what operators wish for generations, one wish at a time, beside the loops."""

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from bennu.errors import Final
from bennu.ops.generations import REPLACE, SWITCH
from bennu_qserver import generations, wishes
from bennu_qserver.database import Connection, Database
from bennu_qserver.dispatch import CompiledProjection
from bennu_qserver.errors import NotYet
from bennu_qserver.generations import Generation, Key
from bennu_qserver.limits import WISH_PAUSES_S

logger = structlog.get_logger()


class Chores:
    """The wishes that are this process's to carry out."""

    def __init__(self, database: Database, compiled: Callable[[Key], CompiledProjection | None]) -> None:
        self._database = database
        self._compiled = compiled
        self._task: asyncio.Task[None] | None = None
        self._tries: dict[Key, int] = {}
        self._not_before_s: dict[Key, float] = {}

    def tend(self, leads: Sequence[Generation], group: asyncio.TaskGroup) -> None:
        """Begin with one, if none is under way."""
        if self._task is not None and not self._task.done():
            return
        due = [each for each in leads if each.wish and self._not_before_s.get(each.key, 0) <= time.monotonic()]
        if due:
            first = min(due, key=lambda each: self._tries.get(each.key, 0))
            self._task = group.create_task(self._carry_out(first, first.wish or ""), name=f"{first.wish} {first.key}")

    async def _carry_out(self, generation: Generation, wish: str) -> None:
        key, switching = generation.key, wish in (SWITCH, REPLACE)
        compiled = self._compiled(key)
        if switching and compiled is None:
            return  # its tables are not as they must be, which its row says already

        async def work(connection: Connection) -> bool:
            if switching and compiled is not None:
                return await wishes.switch(connection, compiled)
            return await wishes.discard(connection, key)

        try:
            done = await self._database.run(work)
        except NotYet as reason:
            await self._put_off(generation, str(reason))
        except Final as problem:
            logger.error("not carried out", wish=wish, generation=str(key), problem=str(problem))
            told = f"{'switch' if switching else wish}: {problem}"
            await self._database.run(lambda connection: wishes.refuse(connection, key, wish=wish, problem=told))
        else:
            if done:
                logger.info("carried out", wish=wish, generation=str(key))
            self._tries.pop(key, None)

    async def _put_off(self, generation: Generation, reason: str) -> None:
        key, tries = generation.key, self._tries.get(generation.key, 0)
        self._tries[key] = tries + 1
        self._not_before_s[key] = time.monotonic() + WISH_PAUSES_S[min(tries, len(WISH_PAUSES_S) - 1)]
        if generation.problem is None or generation.problem.startswith(("switch: ", "drop: ")):
            await self._database.run(lambda connection: generations.tell(connection, key, reason))
