"""Commands for partitions that other processes lead: who waits, for how long, and how many."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from bank.app import app
from bank.v1.commands_pb2 import OpenAccount
from bennu.limits import ELSEWHERE_COMMANDS, LEADER_WAIT_MS
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.members.group import Group
from bennu.ops.answers import OK
from bennu.testing.loop import run
from bennu.v1.members_pb2 import SEAT_PART_LEADS, Heartbeat, Seat
from bennu_cserver.local import Answered, Unsettled
from bennu_cserver.member import Member
from bennu_cserver.peer_service import PeerService
from bennu_cserver.peers import Peers
from bennu_cserver.replies import UNKNOWN
from bennu_cserver.routes import Routes
from bennu_cserver.submission import ANYBODY, Caller, Prepared
from tests.cserver.test_inbox import reason
from tests.cserver.test_intake import INTAKE, full_of_commands, prepared, routes_of_a_stalled_partition
from tests.lone import lone

OPEN = prepared(OpenAccount(account="a", currency="EUR"), "open")
PARTITIONS = 3
FRAME = ELSEWHERE_COMMANDS // 64

Behaviour = Callable[[str, Sequence[Prepared]], Awaitable[Answered]]


class ToldPeers(Peers):
    """Processes that do with commands as they are told; an address is a node's name."""

    def __init__(self, behaviour: Behaviour) -> None:
        super().__init__()
        self._behaviour = behaviour

    async def execute(self, address: str, commands: Sequence[Prepared], caller: Caller) -> Answered:
        return await self._behaviour(address, commands)


def far(behaviour: Behaviour) -> tuple[Routes, Group]:
    """A process that leads nothing, as node `first` leads it all."""
    node = lone(MemoryLog(MemoryBroker()))
    members = [Member(app, (number, PARTITIONS), node=node, intake=INTAKE) for number in range(PARTITIONS)]
    for member in members:
        node.group.join(member)
    claim(node.group, "first", epoch=1)
    return Routes(app, members, group=node.group, peers=ToldPeers(behaviour)), node.group


def claim(group: Group, node: str, *, epoch: int) -> None:
    """Have it hear that this node leads all."""
    seats = [Seat(partition=number, epoch=epoch, term=1, part=SEAT_PART_LEADS) for number in range(PARTITIONS)]
    group.directory.hear(Heartbeat(service="cserver", node=node, life=1, count=1, address=node, seats=seats), 0)
    group.changed()


async def after_a_long_attempt() -> Answered:
    """The leader holds a command for longer than anybody waits for one, then leads no more; the next one comes soon."""

    async def behave(address: str, commands: Sequence[Prepared]) -> Answered:
        if address == "second":
            return [(OK, b"")] * len(commands), "bank-events-0:1"
        await asyncio.sleep(at_s - now_s())
        raise Unsettled(UNKNOWN)

    now_s = asyncio.get_running_loop().time
    at_s = now_s() + LEADER_WAIT_MS / 1000 + 1
    routes, group = far(behave)
    asyncio.get_running_loop().call_at(at_s + LEADER_WAIT_MS / 2000, lambda: claim(group, "second", epoch=2))
    return await routes.submit(0, [OPEN], 10)


def test_the_wait_for_a_leader_begins_when_there_is_none() -> None:
    """However long the attempt took that ended without an outcome: its time is not taken off the wait."""
    assert run(after_a_long_attempt()) == ([(OK, b"")], "bank-events-0:1")


async def floods() -> dict[str, Counter[int]]:
    """Two clients send all that fits, and more; then one sends a single command to a third partition: their codes."""

    async def behave(_address: str, commands: Sequence[Prepared]) -> Answered:
        await sent.wait()
        return [(OK, b"")] * len(commands), "bank-events-0:1"

    async def answered(client: str, number: int, commands: int) -> int:
        replies, _ = await routes.submit(number, [OPEN] * commands, 10, caller=Caller(client))
        return replies[0][0]

    sent = asyncio.Event()
    routes, _ = far(behave)
    asked = {"flood": [answered("flood", 0, FRAME) for _ in range(128)]}
    asked["another"] = [answered("another", 1, FRAME) for _ in range(128)]
    asked["calm"] = [answered("calm", 2, 1)]
    asyncio.get_running_loop().call_later(1, sent.set)
    each = [asyncio.gather(*calls) for calls in asked.values()]
    found = {client: Counter(codes) for client, codes in zip(asked, await asyncio.gather(*each), strict=True)}
    assert await answered("flood", 0, FRAME) == OK
    return found


def test_a_flood_leaves_room_for_another_client() -> None:
    """A client has at most as much waiting as is free: half, then a half of that, and always room for one more."""
    overloaded = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert run(floods()) == {
        "flood": {OK: 32, overloaded: 96},
        "another": {OK: 16, overloaded: 112},
        "calm": {OK: 1},
    }


async def tried_where_the_line_is_full() -> tuple[int, bytes, str]:
    """What the leader says to another process."""
    routes, partition = routes_of_a_stalled_partition()
    partition.replica.lead()
    full_of_commands(partition)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((PeerService(routes, INTAKE).handlers(),))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    peers = Peers()
    try:
        ((code, content), _), token = await peers.try_out(address, OPEN, ANYBODY)
    finally:
        await peers.close()
        await server.stop(0)
    return code, content, token


def test_a_dry_run_elsewhere_is_refused_when_the_line_is_full() -> None:
    """With the hint when to come again, as a command would be; there is no position then."""
    _, content, token = asyncio.run(tried_where_the_line_is_full())
    assert (reason(content), token) == ("OVERLOADED", "")
    assert any(detail.Is(RetryInfo.DESCRIPTOR) for detail in Status.FromString(content).details)
