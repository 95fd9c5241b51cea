"""Several processes share the partitions: any of them takes any command, and any of them may go."""

import asyncio
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import bennu.log
from bank.v1.commands_pb2 import Deposit, OpenAccount
from bank.v1.events_pb2 import Deposited
from bank.v1.queries_pb2 import AccountView, GetAccount
from bennu.members.outside import hand_over
from bennu.v1.members_pb2 import HandoverAsked
from bennu.v1.stream_pb2 import CommandFrame
from bennu.wire.partitioning import partition_of
from tests.cserver.cluster import PARTITIONS, Cluster, leaders
from tests.cserver.commands import batch_of
from tests.cserver.served import TIMEOUT_S, Answer, Server

ACCOUNTS = tuple(f"acc-{number}" for number in range(12))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes that no test of this module harms."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as found:
        yield found
        assert [node.errors() for node in found.nodes] == [[], [], []]


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes of its own."""
    with Cluster(tmp_path) as found:
        yield found


def account_in(number: int, name: str) -> str:
    """An account of this partition."""
    return next(key for key in (f"{name}-{n}" for n in range(1_000)) if partition_of(key, PARTITIONS) == number)


def opened(node: Server, account: str) -> Answer:
    """Open it by this node; it must be carried out."""
    answer = node.ask(OpenAccount(account=account, currency="EUR"), {"idempotency-key": f"open-{account}"})
    assert answer.code == "OK", answer
    return answer


def deposited(node: Server, account: str, command_id: str, *, amount_minor: int = 1) -> Answer:
    """Ask this node for a deposit."""
    command = Deposit(account=account, amount_minor=amount_minor, currency="EUR")
    return node.ask(command, {"idempotency-key": command_id})


def balance(node: Server, account: str, **metadata: str) -> int:
    """What this node answers."""
    answer = node.ask(
        GetAccount(account=account), {f"bennu-{name.replace('_', '-')}": v for name, v in metadata.items()}
    )
    assert answer.code == "OK", answer
    return int(AccountView.FromString(answer.body).balance_minor)


def test_any_node_takes_any_command(cluster: Cluster) -> None:
    """Whoever leads; and the caller of a node reads its own writes there, without saying since when."""
    for number, account in enumerate(ACCOUNTS):
        node = cluster.nodes[number % 3]
        opened(node, account)
        assert deposited(node, account, f"any-{account}", amount_minor=5).code == "OK"
        assert balance(node, account) == 5


def test_an_id_is_known_whoever_is_asked(cluster: Cluster) -> None:
    """The same bytes by every node, and ALREADY_EXISTS for another payload."""
    opened(cluster.nodes[0], "same")
    answers = [deposited(node, "same", "same-id") for node in cluster.nodes]
    assert {(answer.code, answer.body) for answer in answers} == {("OK", answers[0].body)}
    assert [deposited(node, "same", "same-id", amount_minor=2).code for node in cluster.nodes] == ["ALREADY_EXISTS"] * 3


def test_a_frame_goes_to_all_partitions(cluster: Cluster) -> None:
    """One stream to one node; each command is answered in its place, with a position of every partition."""
    accounts = [account_in(number, "frame") for number in range(PARTITIONS)]
    commands = [OpenAccount(account=account, currency="EUR") for account in accounts]
    for node in cluster.nodes:
        frame = CommandFrame(frame_id=1, commands=batch_of(commands, accounts))
        (answer,) = node.stream.Execute(iter((frame,)), timeout=TIMEOUT_S)
        assert (list(answer.codes), list(answer.command_ids)) == ([0] * PARTITIONS, accounts)
        assert {token.rpartition(":")[0] for token in answer.positions} == {
            f"bank-events-{n}" for n in range(PARTITIONS)
        }


def test_a_follower_waits_for_the_position_that_is_asked_for(cluster: Cluster) -> None:
    """A write by one node is read by another one with its position, and by any of them linearizably."""
    opened(cluster.nodes[0], "read")
    for amount in range(1, 20):
        answer = deposited(cluster.nodes[amount % 3], "read", f"read-{amount}")
        for node in cluster.nodes:
            assert balance(node, "read", min_position=str(answer.trailing["bennu-position"])) == amount
            assert balance(node, "read", consistency="linearizable") == amount


def test_a_position_that_nobody_has_reached_is_waited_for_in_vain(cluster: Cluster) -> None:
    """UNAVAILABLE, with the reason, from leaders and followers."""
    account = account_in(0, "future")
    opened(cluster.nodes[0], account)

    def asked(node: Server) -> Answer:
        return node.ask(GetAccount(account=account), {"bennu-min-position": "bank-events-0:1000000"})

    with ThreadPoolExecutor(len(cluster.nodes)) as callers:
        answers = list(callers.map(asked, cluster.nodes))
    assert [(answer.code, answer.reason) for answer in answers] == [("UNAVAILABLE", "BEHIND")] * 3


def test_a_killed_leader_is_replaced_while_callers_wait(own_cluster: Cluster) -> None:
    """kill -9: a command sent at that moment is answered by the next leader, an old one repeated as it was."""
    victim = own_cluster.settled(*own_cluster.nodes)[0]
    others = [node for node in own_cluster.nodes if node is not victim]
    account = account_in(0, "kill")
    opened(others[0], account)
    before = deposited(others[0], account, "before")
    victim.kill()
    after = [deposited(node, account, f"after-{node.node}") for node in others]
    assert [answer.code for answer in after] == ["OK", "OK"]
    assert deposited(others[1], account, "before").body == before.body
    assert balance(others[1], account, consistency="linearizable") == 3
    victim.launch()
    assert set(own_cluster.settled(*own_cluster.nodes).values()) == set(own_cluster.nodes)
    assert deposited(victim, account, "before").body == before.body


def test_a_stopped_leader_follows_when_it_goes_on(own_cluster: Cluster) -> None:
    """SIGSTOP until another one leads; then it answers nothing of its own, and sends on what it is asked."""
    victim = own_cluster.settled(*own_cluster.nodes)[0]
    others = [node for node in own_cluster.nodes if node is not victim]
    account = account_in(0, "stop")
    opened(others[0], account)
    os.kill(victim.process.pid, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor() as pool:
            asked = pool.submit(deposited, victim, account, "asked-the-sleeper")
            assert deposited(others[0], account, "meanwhile").code == "OK"
            os.kill(victim.process.pid, signal.SIGCONT)
            assert asked.result().code == "OK"
    finally:
        os.kill(victim.process.pid, signal.SIGCONT)
    assert balance(victim, account, consistency="linearizable") == 2
    assert victim.logged("leads no more; follows from the log")
    own_cluster.settled(*own_cluster.nodes)


def test_a_node_that_stops_in_order_fails_nobody(own_cluster: Cluster) -> None:
    """SIGTERM under load: each command sent to the others is carried out, once, and none waits for silence."""
    victim = own_cluster.settled(*own_cluster.nodes)[0]
    node = next(node for node in own_cluster.nodes if node is not victim)
    account = account_in(0, "order")
    opened(node, account)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(deposited, node, account, f"order-{number}") for number in range(200)]
        assert victim.stop() == 0
        assert {each.result().code for each in asked} == {"OK"}
    assert balance(node, account, consistency="linearizable") == 200


def test_an_operator_chooses_who_leads(own_cluster: Cluster) -> None:
    """The partition moves at once, stays there against the ranking, and no command fails meanwhile."""
    leader = own_cluster.settled(*own_cluster.nodes)[0]
    wanted = next(node for node in own_cluster.nodes if node is not leader)
    account = account_in(0, "chosen")
    opened(leader, account)

    async def asked() -> None:
        async with bennu.log.open(own_cluster.log_url) as log:
            await hand_over(log, "bank-members", HandoverAsked(service="cserver", partition=0, node=wanted.node))

    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(deposited, leader, account, f"chosen-{number}") for number in range(100)]
        asyncio.run(asked())
        assert {each.result().code for each in work} == {"OK"}
    seen = asyncio.run(own_cluster.seen(lambda seen: 0 in leaders(seen, {wanted.node})))
    assert leaders(seen, {node.node for node in own_cluster.nodes})[0] == wanted.node


def test_the_later_one_of_a_name_stops(own_cluster: Cluster) -> None:
    """Exit 78 with the name; the one that was there goes on, and nobody has lost a partition meanwhile or by then."""
    lost_before = lost_partitions(own_cluster)
    twin = own_cluster.node("n1", "twin")
    with twin:
        twin.launch()
        assert twin.ended() == 78
    assert "is called n1" in str(twin.logged("stopped")[-1]["reason"])
    asyncio.run(own_cluster.listened())
    assert lost_partitions(own_cluster) == lost_before
    assert twin.logged("leads") == []
    opened(own_cluster.nodes[1], "twin")
    assert own_cluster.nodes[1].errors() == []


def lost_partitions(cluster: Cluster) -> list[int]:
    """How often each node was deposed."""
    return [len(node.logged("leads no more; follows from the log")) for node in cluster.nodes]


def test_replies_survive_everybody(own_cluster: Cluster) -> None:
    """All are killed and start again: the same id has the same bytes."""
    opened(own_cluster.nodes[0], "all")
    before = deposited(own_cluster.nodes[0], "all", "before")
    for node in own_cluster.nodes:
        node.kill()
    for node in own_cluster.nodes:
        node.launch()
    after = deposited(own_cluster.nodes[1], "all", "before")
    assert (after.code, after.body) == ("OK", before.body)
    assert Deposited.FromString(after.body).account == "all"
