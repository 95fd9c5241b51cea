"""What a command costs inside CServer, without network and disk: frames of 100 deposits through a memory log.

python -m benchmarks.write_path [seconds] [--profile]
"""

import asyncio
import cProfile
import pstats
import sys
from time import perf_counter, process_time
from unittest.mock import Mock

import bennu.log
from bank.app import app
from bank.v1.commands_pb2 import Deposit, OpenAccount
from bennu.replica.clock import SystemClock
from bennu.replica.leader import Candidate
from bennu.v1.command_pb2 import CommandBatch, Origin
from bennu.v1.stream_pb2 import CommandFrame, ReplyFrame
from bennu_cserver.intake import Intake
from bennu_cserver.member import Member
from bennu_cserver.observed import Observed
from bennu_cserver.routes import Routes
from bennu_cserver.stream import Stream, parse_frame

FRAME = 100
IN_FLIGHT = 40
ACCOUNTS = 1_000


def frame(number: int) -> bytes:
    """A frame of deposits; the first ones open the accounts."""
    opening = number * FRAME < ACCOUNTS
    payloads, ids = [], []
    for i in range(number * FRAME, number * FRAME + FRAME):
        account = f"acc-{i % ACCOUNTS:05}"
        opened = OpenAccount(account=account, currency="EUR")
        deposit = Deposit(account=account, currency="EUR", amount_minor=5)
        payloads.append((opened if opening else deposit).SerializeToString())
        ids.append(f"bench-{i:010}")
    types = ["bank.v1.OpenAccount" if opening else "bank.v1.Deposit"]
    commands = CommandBatch(format_version=1, types=types, command_ids=ids, payloads=payloads)
    commands.type_indexes.extend([0] * FRAME)
    return CommandFrame(frame_id=number, commands=commands).SerializeToString()


async def answer(stream: Stream, request: bytes) -> None:
    """As the stream's edge does it, without the transport."""
    reply = await stream.answer(parse_frame(request), Origin(actor="bench"))
    reply.SerializeToString()
    assert isinstance(reply, ReplyFrame)
    assert not any(reply.codes), reply.codes


async def run(frames: list[bytes]) -> tuple[float, float]:
    """(seconds of wall clock, of CPU) for all frames."""
    clock, observed, stopping = SystemClock(), Mock(spec=Observed), asyncio.Event()
    async with bennu.log.open("memory:") as log:
        member = Member(app, 0, 1, log=log, candidate=Candidate("bench", 1_000_000, 3_600_000))
        await log.create(member.events_topic)
        await log.create(member.commands_topic)
        intake = Intake(app, clock.wall_us)
        stream = Stream(Routes(app, [member]), intake, observed)
        running = asyncio.create_task(member.run(intake, clock, observed, stopping))
        while member.partition is None:  # noqa: ASYNC110 - a benchmark may poll
            await asyncio.sleep(0.01)
        for request in frames[: ACCOUNTS // FRAME]:
            await answer(stream, request)
        began, cpu = perf_counter(), process_time()
        rest = frames[ACCOUNTS // FRAME :]
        for first in range(0, len(rest), IN_FLIGHT):
            await asyncio.gather(*(answer(stream, request) for request in rest[first : first + IN_FLIGHT]))
        took = perf_counter() - began, process_time() - cpu
        stopping.set()
        await running
    return took


def main() -> None:
    """Print microseconds of CPU a command."""
    frames = [frame(number) for number in range(10 + 600)]
    profile = cProfile.Profile()
    if "--profile" in sys.argv:
        profile.enable()
    wall_s, cpu_s = asyncio.run(run(frames))
    profile.disable()
    commands = (len(frames) - ACCOUNTS // FRAME) * FRAME
    print(f"{commands} commands: {cpu_s / commands * 1e6:.1f} us of CPU each, {commands / wall_s:,.0f}/s")
    if "--profile" in sys.argv:
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    main()
