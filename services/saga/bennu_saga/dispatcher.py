"""Sending the outbox: one record at a time to each command log, the same bytes until there is a receipt."""

import asyncio
import random
from collections.abc import Callable

import structlog

from bennu.errors import AppendRefused, AppendUnknown, Final
from bennu.log.port import Log
from bennu_saga.limits import SAY_AGAIN_MS, SEND_RETRY_FIRST_MS, SEND_RETRY_MAX_MS, SEND_TIMEOUT_MS
from bennu_saga.outbox import Box, encode

logger = structlog.get_logger()

Confirmed = Callable[[str, int], None]
"""Called with the command log, and the greatest number that it surely holds."""


class Dispatcher:
    """Sends what is effective of one box.  Cancelled when its leader steps down: the next one sends the rest again."""

    def __init__(self, log: Log, source: str, box: Box, *, confirmed: Confirmed) -> None:
        self._log = log
        self._source = source
        self._box = box
        self._confirmed = confirmed
        self._wake = asyncio.Event()
        self._said_at = -SAY_AGAIN_MS / 1000

    def wake(self) -> None:
        """More may be sent."""
        self._wake.set()

    async def run(self) -> None:
        """For ever.  Raises `Final` if the log can never take it."""
        while True:
            commands = self._box.sendable()
            if commands:
                await self._send(encode(commands, self._source))
                self._confirmed(self._box.destination, commands[-1].no)
            else:
                self._wake.clear()
                await self._wake.wait()

    async def _send(self, record: bytes) -> None:
        wait_ms = SEND_RETRY_FIRST_MS
        while not await self._sent(record):
            await asyncio.sleep(wait_ms / 1000 * (0.5 + random.random()))  # noqa: S311 - jitter, not a secret
            wait_ms = min(2 * wait_ms, SEND_RETRY_MAX_MS)

    async def _sent(self, record: bytes) -> bool:
        """Whether there is a receipt.  Without one the record may be in the log all the same; once more harms nothing."""  # noqa: E501
        destination = self._box.destination
        try:
            await self._log.append(destination, record, timeout_ms=SEND_TIMEOUT_MS)
        except AppendRefused as error:
            if error.final:
                raise Final(f"{destination}: the log will not take commands: {error}") from error
            self._say(str(error))
            return False
        except AppendUnknown as error:
            self._say(str(error))
            return False
        return True

    def _say(self, reason: str) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._said_at + SAY_AGAIN_MS / 1000:
            self._said_at = now
            logger.warning(
                "commands not sent yet; trying again",
                topic=self._box.destination,
                unconfirmed=len(self._box.unconfirmed),
                reason=reason,
            )
