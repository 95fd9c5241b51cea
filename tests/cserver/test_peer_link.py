"""The asking end of a stream between two processes, against a peer that does as it is told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
import pytest

from bank.v1.commands_pb2 import OpenAccount
from bennu.limits import MAX_FRAME_BYTES
from bennu.ops.answers import Context
from bennu.ops.exchange import StreamEnded
from bennu.v1.peer_pb2 import PeerAnswers, PeerFrame, PeerOutcome
from bennu.v1.peer_pb2_grpc import PeerStub
from bennu_cserver.peer_link import Link, room
from tests.cserver.commands import batch_of

COMMANDS = batch_of([OpenAccount(account="a", currency="EUR")], ["id"])
MINUTE_S = 60.0

Behaviour = Callable[[Context], Awaitable[None]]


@asynccontextmanager
async def linked(behaviour: Behaviour) -> AsyncIterator[Link]:
    """A link to a peer that serves each stream so."""

    async def serve(_requests: object, context: Context) -> None:
        await behaviour(context)

    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(serve)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bennu.v1.Peer", {"Submit": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        link = Link(PeerStub(channel))
        yield link
        await link.close()
    await server.stop(0)


async def frame_from(context: Context) -> PeerFrame:
    """The next one that comes."""
    request = await context.read()
    assert isinstance(request, bytes)
    return PeerFrame.FromString(request)


async def asked(link: Link, count: int, timeout_s: float = MINUTE_S) -> list[PeerOutcome | BaseException]:
    """So many submissions in the same turn of the loop."""
    submissions = (link.submit(COMMANDS, client=f"c{n}", timeout_s=timeout_s) for n in range(count))
    return await asyncio.gather(*submissions, return_exceptions=True)


def test_what_comes_together_goes_out_together_and_answers_find_their_askers() -> None:
    """One frame takes all that came in one turn; answers may come in any order."""

    async def backwards(context: Context) -> None:
        frame = await frame_from(context)
        assert [submission.client for submission in frame.submissions] == [f"c{n}" for n in range(10)]
        outcomes = [PeerOutcome(number=s.number, position=s.client) for s in reversed(frame.submissions)]
        await context.write(PeerAnswers(outcomes=outcomes[:3]).SerializeToString())
        await context.write(PeerAnswers(outcomes=outcomes[3:]).SerializeToString())
        await context.read()

    async def scenario() -> None:
        async with linked(backwards) as link:
            answers = await asked(link, 10)
            assert [a.position for a in answers if isinstance(a, PeerOutcome)] == [f"c{n}" for n in range(10)]
            assert not link.over

    asyncio.run(scenario())


def test_a_stream_that_ends_leaves_nobody_waiting() -> None:
    """The outcome of what was not answered is unknown, and the link says that it is over."""

    async def leaves(context: Context) -> None:
        await frame_from(context)

    async def scenario() -> None:
        async with linked(leaves) as link:
            assert all(isinstance(answer, StreamEnded) for answer in await asked(link, 3))
            assert link.over

    asyncio.run(scenario())


def test_a_peer_that_is_not_there_ends_the_link() -> None:
    """No process listens: the outcome is unknown at once."""

    async def scenario() -> None:
        async with grpc.aio.insecure_channel("127.0.0.1:9") as channel:
            link = Link(PeerStub(channel))
            with pytest.raises(StreamEnded):
                await link.submit(COMMANDS, client="", timeout_s=MINUTE_S)
            assert link.over

    asyncio.run(scenario())


def test_a_link_on_which_nothing_comes_is_given_up() -> None:
    """A peer that is gone without a word looks like one that is slow: only a new connection finds out."""

    async def silent(context: Context) -> None:
        while isinstance(await context.read(), bytes):
            pass

    async def scenario() -> None:
        async with linked(silent) as link:
            assert [type(answer) for answer in await asked(link, 2, timeout_s=0.05)] == [TimeoutError] * 2
            await link.close()
            assert link.over

    asyncio.run(scenario())


def test_a_slow_answer_does_not_end_a_link_that_works() -> None:
    """While others are answered, one that waits in vain only gives up for itself."""

    async def forgetful(context: Context) -> None:
        first = await frame_from(context)
        came.set()
        second = await frame_from(context)
        outcome = PeerOutcome(number=second.submissions[0].number)
        await context.write(PeerAnswers(outcomes=[outcome]).SerializeToString())
        assert first.submissions[0].number != outcome.number
        await context.read()

    async def scenario() -> None:
        async with linked(forgetful) as link:
            forgotten = asyncio.create_task(link.submit(COMMANDS, client="", timeout_s=2))
            await came.wait()
            assert isinstance((await asked(link, 1))[0], PeerOutcome)
            with pytest.raises(TimeoutError):
                await forgotten
            assert not link.over

    came = asyncio.Event()
    asyncio.run(scenario())


def test_a_frame_is_never_longer_than_a_peer_takes() -> None:
    """What has no room waits for the next one; what is too long for any goes alone, and nothing is lost."""
    sizes = [1, MAX_FRAME_BYTES // 2, MAX_FRAME_BYTES // 2, MAX_FRAME_BYTES + 1, 1]
    out = [PeerOutcome(number=n, position="x" * size) for n, size in enumerate(sizes)]
    frames = []
    while out:
        frames.append([outcome.number for outcome in out[: room(out)]])
        del out[: len(frames[-1])]
    assert frames == [[0, 1], [2], [3], [4]]
