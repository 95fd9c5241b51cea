"""A process of CServer that has no peers, for tests that need no other."""

from collections.abc import Sequence

from bank.app import app
from bennu.log.memory import MemoryLog
from bennu.members.group import Group, Identity
from bennu.ops import topics
from bennu.replica.clock import Clock, SystemClock
from bennu.replica.leader import Candidate
from bennu.replica.node import Node
from bennu_cserver.member import Member
from bennu_cserver.peers import Peers
from bennu_cserver.routes import Routes

WEEK_MS = 7 * 24 * 3600 * 1000


def lone(log: MemoryLog, *, window: tuple[int, int] = (10, WEEK_MS), clock: Clock | None = None) -> Node:
    """A node named `test`; `window` is how many replies it keeps, and how long."""
    group = Group(log, topics.members(app.name), Identity("cserver", "test"), clock=clock or SystemClock())
    return Node(log, Candidate("test", *window), group)


async def create_topics(log: MemoryLog, members: Sequence[Member]) -> None:
    """All that these members read and write."""
    for topic in (topics.members(app.name), *(topic for member in members for topic in member.topics)):
        await log.create(topic)


def routes_of(node: Node, members: Sequence[Member]) -> Routes:
    """The way to these partitions."""
    return Routes(app, members, group=node.group, peers=Peers())
