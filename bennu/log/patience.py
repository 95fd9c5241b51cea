"""Waiting for a peer that is away: longer each time, never in step with others, and not silently."""

import asyncio
import random
import time
from contextlib import suppress

import structlog

from bennu.log.limits import AWAY_LOG_INTERVAL_S, RETRY_MAX_MS, RETRY_MIN_MS

logger = structlog.get_logger()


class Patience:
    """One caller's waits for one peer; `closed` cuts a wait short."""

    def __init__(self, what: str, closed: asyncio.Event) -> None:
        self._what = what
        self._closed = closed
        self._pause_ms = RETRY_MIN_MS
        self._said_s = -AWAY_LOG_INTERVAL_S

    def reset(self) -> None:
        """The peer has answered."""
        self._pause_ms = RETRY_MIN_MS
        self._said_s = -AWAY_LOG_INTERVAL_S

    async def wait(self, problem: object) -> None:
        """Wait before the next attempt; says why at first and then every ten seconds."""
        now_s = time.monotonic()
        if now_s - self._said_s >= AWAY_LOG_INTERVAL_S:
            logger.warning("waiting for the log", what=self._what, problem=str(problem))
            self._said_s = now_s
        pause_s = self._pause_ms * random.uniform(0.5, 1.0) / 1000  # noqa: S311  jitter, not a secret
        self._pause_ms = min(self._pause_ms * 2, RETRY_MAX_MS)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._closed.wait()
