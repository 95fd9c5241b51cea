"""Frames in one process: the loop keeps its turns beside them, and neither a lost client nor a stop is an error."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, cast

import grpc
from google.protobuf.message import Message

from bank.app import app
from bank.v1.commands_pb2 import OpenAccount
from bennu.limits import PREPARE_CHUNK
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.members.limits import NAMED_WAIT_MS
from bennu.ops.answers import Context
from bennu.ops.metrics import Metrics
from bennu.ops.readiness import Readiness
from bennu.replica.clock import SystemClock
from bennu.replica.member import run_all
from bennu.testing.loop import run
from bennu.v1.command_pb2 import Origin
from bennu.v1.members_pb2 import SEAT_PART_LEADS
from bennu.v1.peer_pb2 import PeerAnswers, PeerFrame, PeerOutcome, PeerSubmission
from bennu.v1.stream_pb2 import CommandFrame
from bennu_cserver.intake import Intake, Refused
from bennu_cserver.member import Member
from bennu_cserver.observed import Observed
from bennu_cserver.peer_service import PeerService
from bennu_cserver.replies import UNKNOWN
from bennu_cserver.stream import Stream
from bennu_cserver.submission import Columns, Prepared
from tests.cserver.commands import batch_of
from tests.lone import create_topics, lone, routes_of

INVALID, REJECTED = 3, 9
"""gRPC's codes of a mistake and of a refusal by the rules."""

Scenario = Callable[[Stream, Member, "CountingIntake"], Awaitable[None]]


class CountingIntake(Intake):
    """Counts the commands that it has prepared."""

    prepared = 0

    def commands(self, type_name: str, columns: Columns) -> Sequence[Prepared | Refused]:
        self.prepared += len(columns.payloads)
        return super().commands(type_name, columns)


class GoneClient:
    """A stream's context whose client sent one frame and left: writing fails as grpcio's does."""

    def __init__(self, sent: Message) -> None:
        self.frames = [sent.SerializeToString()]

    def invocation_metadata(self) -> None:
        """Nothing was sent along."""

    def peer(self) -> str:
        """Its connection."""
        return "gone"

    async def read(self) -> object:
        return self.frames.pop() if self.frames else grpc.aio.EOF

    async def write(self, _message: bytes) -> None:
        raise grpc.aio.InternalError("Failed execute_batch")


class Asker(GoneClient):
    """A peer's end of its stream, which stays until so many outcomes came."""

    def __init__(self, sent: Message, count: int) -> None:
        super().__init__(sent)
        self.outcomes: dict[int, PeerOutcome] = {}
        self._count = count
        self._all = asyncio.Event()

    async def read(self) -> object:
        if not self.frames:
            await self._all.wait()
        return await super().read()

    async def write(self, message: bytes) -> None:
        self.outcomes |= {outcome.number: outcome for outcome in PeerAnswers.FromString(message).outcomes}
        if len(self.outcomes) == self._count:
            self._all.set()


def frame(count: int) -> CommandFrame:
    """A frame of so many commands."""
    return CommandFrame(frame_id=1, commands=batch_of([OpenAccount(account="a", currency="EUR")] * count))


async def serving(scenario: Scenario) -> None:
    """The scenario, with a partition that leads."""
    log, readiness, stopping = MemoryLog(MemoryBroker()), Readiness(), asyncio.Event()
    clock, observed = SystemClock(), Observed(Metrics(), readiness, 1)
    intake = CountingIntake(app, clock.wall_us)
    node = lone(log, window=(100_000, 60_000))
    member = Member(app, (0, 1), node=node, intake=intake)
    await create_topics(log, [member])
    running = asyncio.create_task(run_all(node, [member], clock, observed=observed, stopping=stopping))
    await readiness.wait()
    await scenario(Stream(routes_of(node, [member]), intake, observed), member, intake)
    stopping.set()
    await running


async def big_frames(stream: Stream, member: Member, intake: CountingIntake) -> None:
    """Three at once."""
    await between_turns([stream.answer(frame(4 * PREPARE_CHUNK), Origin()) for _ in range(3)], intake, member)


async def big_frames_alone(stream: Stream, _member: Member, intake: CountingIntake) -> None:
    """Three at once, and nobody else is there."""
    steps = await between_turns([stream.answer(frame(4 * PREPARE_CHUNK), Origin()) for _ in range(3)], intake)
    assert max(steps) == 4 * PREPARE_CHUNK


async def sent_on(stream: Stream, member: Member, intake: CountingIntake) -> None:
    """Three at once that other processes send on."""
    peer = PeerService(stream._routes, intake)
    frames = [PeerFrame(submissions=[PeerSubmission(commands=frame(4 * PREPARE_CHUNK).commands)]) for _ in range(3)]
    contexts = [cast(Context, Asker(sent, 1)) for sent in frames]
    await between_turns([peer.stream(context).serve() for context in contexts], intake, member)


async def sent_on_with_mistakes(stream: Stream, member: Member, intake: CountingIntake) -> None:
    """Three submissions, the first with a mistake in the middle, the second of nothing but a mistake."""
    good, bad = OpenAccount(account="a", currency="EUR"), OpenAccount(currency="EUR")
    batches = [batch_of([good, bad, good], ["1", "2", "3"]), batch_of([bad], ["4"]), batch_of([good], ["5"])]
    sent = PeerFrame(submissions=[PeerSubmission(number=n, commands=batch) for n, batch in enumerate(batches)])
    asker = Asker(sent, 3)
    await PeerService(stream._routes, intake).stream(cast(Context, asker)).serve()
    codes = [list(asker.outcomes[n].codes) for n in range(3)]
    assert codes == [[0, INVALID, REJECTED], [INVALID], [REJECTED]]
    assert [asker.outcomes[n].position for n in range(3)] == [f"{member.topic}:{2}", "", f"{member.topic}:{2}"]


async def sent_on_too_late(stream: Stream, member: Member, intake: CountingIntake) -> None:
    """A submission that comes once the partition was told to stop."""
    assert member.partition is not None
    member.partition.stop()
    asker = Asker(PeerFrame(submissions=[PeerSubmission(number=7, commands=frame(2).commands)]), 1)
    await PeerService(stream._routes, intake).stream(cast(Context, asker)).serve()
    assert list(asker.outcomes[7].codes) == [UNKNOWN[0]] * 2


async def sent_on_early(stream: Stream, member: Member, intake: CountingIntake) -> None:
    """A submission that comes before the process leads, for the other one has heard first who was named."""
    partition, member.partition = member.partition, None
    asker = Asker(PeerFrame(submissions=[PeerSubmission(number=7, commands=frame(1).commands)]), 1)
    serving = asyncio.create_task(PeerService(stream._routes, intake).stream(cast(Context, asker)).serve())
    await asyncio.sleep(NAMED_WAIT_MS / 2000)
    assert not asker.outcomes
    member.partition = partition
    member._now(SEAT_PART_LEADS)
    await serving
    assert list(asker.outcomes[7].codes) == [0]


async def between_turns(
    frames: Sequence[Coroutine[Any, Any, object]], intake: CountingIntake, beside_calm: Member | None = None
) -> list[int]:
    """What was prepared between two turns of the loop; little, if somebody calm is served in each."""
    work = [asyncio.create_task(each) for each in frames]
    steps, before = [0], 0
    while not all(task.done() for task in work):
        if beside_calm is not None:
            beside_calm.pauses.arrived(1, "another partition", "who sends one at a time")
        await asyncio.sleep(0)
        steps.append(intake.prepared - before)
        before = intake.prepared
    assert intake.prepared == 12 * PREPARE_CHUNK
    if beside_calm is not None:
        assert max(steps) <= 2 * PREPARE_CHUNK
    return steps


async def gone(stream: Stream, _member: Member, intake: CountingIntake) -> None:
    """The handler's own way to end."""
    await stream._execute(None, cast(Context, GoneClient(frame(3))))
    assert intake.prepared == 3


async def stopped(stream: Stream, member: Member, _intake: CountingIntake) -> None:
    """A frame that comes once the partition was told to stop."""
    assert member.partition is not None
    member.partition.stop()
    assert list((await stream.answer(frame(2), Origin())).codes) == [UNKNOWN[0]] * 2


def test_others_have_their_turn_beside_big_frames() -> None:
    """However many big frames are at work, at most one end and one beginning of a chunk lie between two turns."""
    run(serving(big_frames))
    run(serving(big_frames_alone))


def test_others_have_their_turn_beside_frames_that_are_sent_on() -> None:
    """The same holds where a frame comes by another process."""
    run(serving(sent_on))


def test_a_client_that_is_gone_is_no_error() -> None:
    """What it is not told is not told; nothing is raised, for nobody has to look at it."""
    run(serving(gone))


def test_what_comes_during_a_stop_does_not_delay_it() -> None:
    """It is told that nobody leads here, and does not join the line."""
    run(serving(stopped))


def test_what_another_process_sends_on_is_judged_here_again() -> None:
    """A mistake is answered in its place and keeps nothing else from being decided; each submission by itself."""
    run(serving(sent_on_with_mistakes))


def test_another_process_is_told_that_nobody_leads_here() -> None:
    """It asks the next leader then."""
    run(serving(sent_on_too_late))


def test_what_comes_before_this_process_leads_is_kept_for_a_moment() -> None:
    """It is decided as soon as it does."""
    run(serving(sent_on_early))
