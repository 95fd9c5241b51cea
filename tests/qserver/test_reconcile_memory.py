"""`bennu reconcile --grpc` compares what CServer has in memory with what the journal leads to."""

import asyncio
import json
from collections.abc import Iterator
from threading import Event, Thread
from typing import Any

import grpc
import pytest

import bennu.log
from bank import account
from bank.account import Account
from bank.app import app as bank
from bank.screening import ScreeningRules
from bank.transfer import TransferRules
from bank.v1.commands_pb2 import Deposit, OpenAccount
from bank.v1.events_pb2 import Deposited
from bennu.domain import App, evolves
from bennu.v1.inspection_pb2 import AggregatePage, AggregateView, GetAggregate, ListAggregates
from bennu.v1.inspection_pb2_grpc import InspectionStub
from bennu_qserver.reconcile import memory
from bennu_qserver.reconcile.memory import MemoryTable, compare_partition
from tests.cserver.served import Server

PARTITIONS = 2


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A bank of some accounts."""
    with Server(tmp_path_factory.mktemp("memory")) as found:
        found.start()
        for number in range(20):
            found.ask(OpenAccount(account=f"a{number}", currency="EUR", owner="Ann"))
            found.ask(Deposit(account=f"a{number}", amount_minor=10 + number, currency="EUR"))
        yield found


class Said:
    """What was said."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.tables: list[MemoryTable] = []

    def aggregate(self, what: str, _plain: dict[str, object]) -> None:
        """See `memory.Shows`."""
        self.words.append(what)

    def memory(self, found: MemoryTable) -> None:
        """See `memory.Shows`."""
        self.tables.append(found)


class Lying:
    """A server that has lost one account, and has another one otherwise."""

    def __init__(self, stub: InspectionStub, *, lost: str, changed: str) -> None:
        self._stub, self._lost, self._changed = stub, lost, changed

    def ListAggregates(self, asked: ListAggregates, timeout: float) -> AggregatePage:  # noqa: N802 - as generated
        """Without the one, and with the other one."""
        page = self._stub.ListAggregates(asked, timeout=timeout)
        kept = [one for one in page.aggregates if one.key != self._lost]
        for one in kept:
            one.state_json = self._told(one.key, one.state_json)
        told = AggregatePage(next_page_token=page.next_page_token, position=page.position)
        told.aggregates.extend(kept)
        return told

    def GetAggregate(self, asked: GetAggregate, timeout: float) -> AggregateView:  # noqa: N802 - as generated
        """The same."""
        if asked.key == self._lost:
            return self._stub.GetAggregate(GetAggregate(kind=asked.kind, key="nobody"), timeout=timeout)
        view = self._stub.GetAggregate(asked, timeout=timeout)
        view.aggregate.state_json = self._told(asked.key, view.aggregate.state_json)
        return view

    def _told(self, key: str, said: str) -> str:
        return json.dumps(json.loads(said) | {"balance_minor": 7}) if key == self._changed else said


def compared(server: Server, *, app: App = bank, lost: str = "", changed: str = "") -> Said:
    """All partitions."""
    said = Said()

    async def work(stub: Any) -> None:  # noqa: ANN401 - a stub, or what stands for one
        async with bennu.log.open(server.log_url) as log:
            for partition in range(PARTITIONS):
                await compare_partition(stub, log, app, partition=partition, shows=said)

    with grpc.insecure_channel(server.process.announced["grpc"]) as channel:
        asyncio.run(work(Lying(InspectionStub(channel), lost=lost, changed=changed)))
    return said


def test_memory_is_as_the_journal_says(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """All aggregates are looked at, a page at a time."""
    monkeypatch.setattr(memory, "PAGE", 3)
    said = compared(server)
    assert said.words == []
    assert sum(table.aggregates for table in said.tables) >= 20


def test_what_memory_has_otherwise_is_named(server: Server) -> None:
    """An account that is lost and one that has another balance: both are told, with both states."""
    said = compared(server, lost="a3", changed="a5")
    assert len(said.words) == 2
    assert any("Account a3, partition" in words and "memory has not" in words for words in said.words)
    assert any("Account a5" in words and '"balance_minor":15' in words for words in said.words)


class AccountRules(account.AccountRules):
    """Evolves otherwise than the one who wrote the journal."""

    @evolves
    def was_deposited(self, state: Account, event: Deposited) -> None:
        state.balance_minor += event.amount_minor + 1


def test_a_leader_whose_digests_differ_is_told(server: Server) -> None:
    """Where a replay leads to other states than the leader had, its first batch that differs is named."""
    other = App("bank", service=bank.service, aggregates=(AccountRules, TransferRules, ScreeningRules))
    assert "is the first after which this replica's state differs" in compared(server, app=other).words[0]


def test_commands_that_go_on_are_no_differences(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page is compared with all states of the time in which it was made."""
    monkeypatch.setattr(memory, "PAGE", 2)
    done = Event()

    def write() -> None:
        number = 0
        while not done.is_set():
            number += 1
            server.ask(Deposit(account=f"a{number % 20}", amount_minor=1, currency="EUR"))

    thread = Thread(target=write)
    thread.start()
    try:
        assert [compared(server).words for _ in range(3)] == [[], [], []]
    finally:
        done.set()
        thread.join()
