"""`python -m tests.ops.left_behind WHAT`: a service whose work returns, and leaves something that never ends."""

import asyncio
import sys
from threading import Event, Thread
from unittest import mock

from bennu.errors import RecordBroken
from bennu.ops import run
from bennu.ops.run import Running, leave, run_service
from tests.ops.test_run import ARGV, Settings

mock.patch.object(run, "HARD_STOP_S", 0.2).start()
KEPT: list[asyncio.Task[bool]] = []


async def deaf() -> bool:
    """A task that hears of no cancellation."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


async def main(_settings: Settings, _running: Running) -> None:
    """What a service does."""
    what = sys.argv[1]
    if what == "own-thread":
        Thread(target=Event().wait).start()
    elif what == "thread":
        KEPT.append(asyncio.create_task(asyncio.to_thread(Event().wait)))
    else:
        KEPT.append(asyncio.create_task(deaf()))
    await asyncio.sleep(0)
    if what == "failed":
        raise RecordBroken("broken")


if __name__ == "__main__":
    leave(run_service(Settings, main, argv=ARGV, environ={}))
