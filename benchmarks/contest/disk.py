"""The floor under everything that is durable: one small write and one fdatasync after another, on the same disk."""

import asyncio
import os
import time
from pathlib import Path

from benchmarks.contest.place import Place
from benchmarks.contest.port import Round

WRITE_BYTES = 100
"""As much as one deposit has in a journal."""


class Synced:
    """A process that would write each command by itself could not be faster than this."""

    name = "fdatasync"

    async def prepare(self, place: Place) -> None:
        self._path = place.folder / "fdatasync"

    async def round(self, seconds: float) -> Round:
        return await asyncio.to_thread(_write, self._path, seconds)


def _write(path: Path, seconds: float) -> Round:
    latencies_ms: list[float] = []
    record = bytes(WRITE_BYTES)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        began_s = time.perf_counter()
        while (sent_s := time.perf_counter()) < began_s + seconds:
            os.write(file, record)
            os.fdatasync(file)
            latencies_ms.append((time.perf_counter() - sent_s) * 1000)
    finally:
        os.close(file)
    return Round(len(latencies_ms), time.perf_counter() - began_s, latencies_ms)
