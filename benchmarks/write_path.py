"""What a command costs inside CServer, without network and disk: frames of 100 deposits through a memory log.

python -m benchmarks.write_path [--profile]
"""

import asyncio
import cProfile
import pstats
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter, process_time
from unittest.mock import Mock

import bennu.log
from bank.app import app
from benchmarks.frames import deposit_frames, opening_frames
from bennu.members.group import Group, Identity
from bennu.ops import topics
from bennu.replica.clock import SystemClock
from bennu.replica.leader import Candidate
from bennu.replica.member import run_all
from bennu.replica.node import Node
from bennu.v1.command_pb2 import Origin
from bennu.v1.stream_pb2 import ReplyFrame
from bennu_cserver.intake import Intake
from bennu_cserver.member import Member
from bennu_cserver.observed import Observed
from bennu_cserver.peers import Peers
from bennu_cserver.routes import Routes
from bennu_cserver.stream import Stream, parse_frame

FRAME = 100
IN_FLIGHT = 40
FRAMES = 600


async def answer(stream: Stream, request: bytes) -> None:
    """As the stream's edge does it, without the transport."""
    reply = await stream.answer(parse_frame(request), Origin(actor="bench"))
    reply.SerializeToString()
    assert isinstance(reply, ReplyFrame)
    assert not any(reply.codes), reply.codes


async def run(
    opening: list[bytes], rest: list[bytes], *, around: Callable[[], AbstractContextManager[object]] = nullcontext
) -> tuple[float, float]:
    """(seconds of wall clock, of CPU) for all frames of `rest`, which are carried out inside `around`."""
    clock, stopping = SystemClock(), asyncio.Event()
    observed: Observed = Mock(spec=Observed)
    async with bennu.log.open("memory:") as log:
        intake = Intake(app, clock.wall_us)
        group = Group(log, topics.members(app.name), Identity("cserver", "bench"), clock=clock)
        node = Node(log, Candidate("bench", 1_000_000, 3_600_000), group)
        member = Member(app, (0, 1), node=node, intake=intake)
        await topics.create_all(log, app.name, 1)
        stream = Stream(Routes(app, [member], group=group, peers=Peers()), intake, observed)
        running = asyncio.create_task(run_all(node, [member], clock, observed=observed, stopping=stopping))
        while member.partition is None:  # noqa: ASYNC110 - a benchmark may poll
            await asyncio.sleep(0.01)
        for request in opening:
            await answer(stream, request)
        began, cpu = perf_counter(), process_time()
        with around():
            for first in range(0, len(rest), IN_FLIGHT):
                await asyncio.gather(*(answer(stream, request) for request in rest[first : first + IN_FLIGHT]))
        took = perf_counter() - began, process_time() - cpu
        stopping.set()
        await running
    return took


def main() -> None:
    """Print microseconds of CPU a command."""
    opening, rest = opening_frames(FRAME), deposit_frames(FRAME, FRAMES, run="bench")
    profile = cProfile.Profile()
    if "--profile" in sys.argv:
        profile.enable()
    wall_s, cpu_s = asyncio.run(run(opening, rest))
    profile.disable()
    commands = FRAMES * FRAME
    print(f"{commands} commands: {cpu_s / commands * 1e6:.1f} us of CPU each, {commands / wall_s:,.0f}/s")
    if "--profile" in sys.argv:
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    main()
