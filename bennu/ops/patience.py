"""Waiting for a peer that is away: longer each time, never in step with others, and not silently."""

import asyncio
import random
import time

import structlog

FIRST_PAUSE_MS = 100
LONGEST_PAUSE_MS = 2_000
SAY_EVERY_S = 10.0

logger = structlog.get_logger()


class Patience:
    """One caller's waits for one peer; make a new one for each call, or `reset` when the peer has answered."""

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self.reset()

    def reset(self) -> None:
        """The peer has answered."""
        self._pause_ms = FIRST_PAUSE_MS
        self._said_s = float("-inf")

    async def wait(self, problem: object) -> None:
        """Wait before the next attempt; says why at first and then every ten seconds."""
        now_s = time.monotonic()
        if now_s - self._said_s >= SAY_EVERY_S:
            logger.warning("waiting", peer=self._peer, problem=str(problem) or repr(problem))
            self._said_s = now_s
        pause_s = self._pause_ms * random.uniform(0.5, 1.0) / 1000  # noqa: S311 - jitter, not a secret
        self._pause_ms = min(self._pause_ms * 2, LONGEST_PAUSE_MS)
        await asyncio.sleep(pause_s)
