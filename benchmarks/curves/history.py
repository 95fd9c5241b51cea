"""More commands on the same accounts: the log grows, and the memory of the process that leads does not."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.curves.servers import (
    FRAME,
    IN_FLIGHT,
    Row,
    Site,
    client,
    cservers,
    open_accounts,
    resident_bytes,
    run_name,
)
from benchmarks.frames import deposit_frames

WINDOW = 10_000
"""Replies kept: full before the first row, where that has as many commands."""
PIECE = 500
"""Frames that are made at once."""


async def curve(site: Site, sizes: Sequence[int], _seconds: float) -> list[Row]:
    """A row for each number of commands, all of one process that goes on; to a thousand accounts."""
    rows: list[Row] = []
    sent = 0
    with site.at() as ground, cservers(ground, flags=["--window-count", str(WINDOW)]) as (leader,):
        async with client(leader) as to:
            await open_accounts(to)
            for size in sorted(sizes):
                while sent < size:
                    frames = deposit_frames(FRAME, max(1, min(PIECE, (size - sent) // FRAME)), run=run_name())
                    await to.send(frames, in_flight=IN_FLIGHT)
                    sent += len(frames) * FRAME
                rows.append(
                    {"commands": sent, "rss_mb": _mega(resident_bytes(leader)), "log_mb": _mega(_used(ground.folder))}
                )
    return rows


def _mega(size: int) -> float:
    return round(size / 1e6, 1)


def _used(folder: Path) -> int:
    """By the files of its log, wherever they lie below it."""
    return sum(found.stat().st_size for found in folder.rglob("*") if found.is_file())
