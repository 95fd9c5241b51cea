"""The official RocketMQ client beside Bennu: it writes to a command log and reads a journal, through the proxy."""

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import grpc
import pytest

import bennu.log
from bank.v1 import bank_pb2_grpc
from bank.v1.events_pb2 import AccountOpened, Deposited
from bank.v1.queries_pb2 import GetAccount
from bennu.log.rocketmq.remoting import RemotingClient
from bennu.log.rocketmq.settings import parse_address
from bennu.ops import topics
from bennu.replica.history import effective_batches
from bennu.stack.rocketmq import RocketMQ
from bennu.stack.service import Service, clean_environ
from bennu.v1.journal_pb2 import EventBatch
from tests.interop import official_client
from tests.interop.exported import run
from tests.interop.official_client import ACTOR, COMMANDS, DEPOSIT, OPEN, TIMES_SENT
from tests.stack.processes import until

pytestmark = pytest.mark.real

GROUP = "readers-of-bank-events"
UPDATE_GROUP = 200
TIMEOUT_S = 30


@pytest.fixture
def cserver(rocketmq: RocketMQ, tmp_path: Path) -> Iterator[Service]:
    """A bank of one partition on RocketMQ, and a group for whoever reads its journal by POP."""
    asyncio.run(prepare(rocketmq))
    flags = ["--app", "bank.app:app", "--log", rocketmq.log_url, "--partitions", "1", "--grpc", "127.0.0.1:0"]
    service = Service("cserver", flags, tmp_path, environ=clean_environ())
    service.start()
    try:
        service.wait_serving()
        yield service
    finally:
        service.kill()


async def prepare(rocketmq: RocketMQ) -> None:
    """Make the topics and the group: nothing is made by itself when a client comes."""
    async with bennu.log.open(rocketmq.log_url) as log:
        await topics.create_all(log, "bank", 1)
    group = json.dumps({"groupName": GROUP}).encode()
    with closing(RemotingClient(parse_address("broker", rocketmq.broker_address))) as broker:
        answer = await broker.call(UPDATE_GROUP, {}, timeout_ms=1_000 * TIMEOUT_S, body=group)
    assert answer.code == 0, answer


def taken(log_url: str) -> int:
    """How many records of the command log the journal has taken."""
    inputs = [found for batch in asyncio.run(journal(log_url)) for found in batch.inputs]
    return max((found.offset for found in inputs if found.topic == "bank-commands-0"), default=0)


async def journal(log_url: str) -> list[EventBatch]:
    """The effective batches of the bank's journal."""
    async with bennu.log.open(log_url) as log:
        return await effective_batches(log, "bank-events-0")


def test_the_official_client_commands_and_reads(rocketmq: RocketMQ, cserver: Service, tmp_path: Path) -> None:
    """A record sent twice by the official client is executed once, and the same client reads the events it led to."""
    script = Path(official_client.__file__)
    said = run([sys.executable, script, rocketmq.proxy_address, GROUP], environ=os.environ | {"HOME": str(tmp_path)})
    opened, deposited = json.loads(said)
    assert opened[:2] == [OPEN, "bank.v1.AccountOpened"]
    assert AccountOpened.FromString(bytes.fromhex(opened[2])).owner == "RocketMQ"
    assert deposited[:2] == [DEPOSIT, "bank.v1.Deposited"]
    assert Deposited.FromString(bytes.fromhex(deposited[2])).balance_minor == 1234

    until(lambda: taken(rocketmq.log_url) == TIMES_SENT, TIMEOUT_S)
    with grpc.insecure_channel(cserver.addresses["grpc"]) as channel:
        view = bank_pb2_grpc.BankStub(channel).GetAccount(GetAccount(account="official"), timeout=TIMEOUT_S)
    assert (view.owner, view.balance_minor) == ("RocketMQ", 1234)

    batches = asyncio.run(journal(rocketmq.log_url))
    assert Counter(name for batch in batches for name in batch.command_ids) == dict.fromkeys(COMMANDS, 1)
    assert ACTOR in {origin.actor for batch in batches for origin in batch.origins}
