"""Processes of several builds over one embedded log, with one partition between them."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc

import bennu.log
from bennu.members.outside import Seen, look
from bennu.v1.members_pb2 import Seat, SeatPart
from tests.builds.messages import BoxView, Fill
from tests.cserver.served import TIMEOUT_S, Server

MEMBERS, EVENTS = "builds-members", "builds-events-0"


def _node(directory: Path, name: str, app: str) -> Server:
    place = directory / name
    place.mkdir()
    log_url = f"sqlite:{directory / 'log'}"
    return Server(place, app=f"tests.builds.{app}:app", partitions=1, log_url=log_url, node=name)


@contextmanager
def nodes(directory: Path, **apps: str) -> Iterator[list[Server]]:
    """A process a build, by name; not started, and gone at the end."""
    with ExitStack() as stack:
        yield [stack.enter_context(_node(directory, name, app)) for name, app in apps.items()]


def fill(node: Server, box: str, amount: int) -> int:
    """Fill a box by this node; what is in it then."""
    call: grpc.UnaryUnaryMultiCallable[Fill, BoxView] = node.channel.unary_unary(
        "/builds.v1.Boxes/Fill", request_serializer=Fill.SerializeToString, response_deserializer=BoxView.FromString
    )
    return call(Fill(box=box, amount=amount), timeout=TIMEOUT_S).content


def seat(node: Server, part: SeatPart.ValueType) -> Seat:
    """Listen until this node says that this is its part."""

    def said(seen: dict[str, Seen]) -> bool:
        return node.node in seen and seen[node.node].live and seen[node.node].beat.seats[0].part == part

    async def listen() -> dict[str, Seen]:
        async with bennu.log.open(node.log_url) as log:
            return await look(log, MEMBERS, until=said, timeout_s=TIMEOUT_S)

    seen = asyncio.run(listen())
    assert said(seen), seen
    found: Seat = seen[node.node].beat.seats[0]
    return found
