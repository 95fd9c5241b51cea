"""Generations that are built give way to the live ones of the same process."""

import asyncio
import time
from collections.abc import Callable, Iterable

from bennu_qserver.limits import BEHIND_S, REST_POLL_S, REST_S


class Pace:
    """Asked before each transaction of a generation that is not live."""

    def __init__(self, waits_s: Callable[[], Iterable[float]]) -> None:
        self._waits_s = waits_s
        """How long the work of each live loop waits."""

    async def give_way(self) -> None:
        """Return when no live loop is behind, or after a while all the same."""
        until_s = time.monotonic() + REST_S
        while any(waits_s > BEHIND_S for waits_s in self._waits_s()):
            if time.monotonic() > until_s:
                return
            await asyncio.sleep(REST_POLL_S)
