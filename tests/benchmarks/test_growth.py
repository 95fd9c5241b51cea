"""The curves of growth: a small real run of each part, and that what is sent is what is said to be."""

import asyncio
import json
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
import typer
from typer.testing import CliRunner

from bank.v1.commands_pb2 import Deposit
from benchmarks import growth
from benchmarks.__main__ import build
from benchmarks.curves import history, payloads, shares
from benchmarks.curves.notes_messages import GetNote, NoteView
from benchmarks.curves.servers import Site, client, cservers
from benchmarks.serving import bench_folder
from bennu.v1.stream_pb2 import CommandFrame
from bennu.wire.partitioning import partition_of

SECONDS = 0.2


def ran(monkeypatch: pytest.MonkeyPatch, part: str, sizes: str) -> list[dict[str, Any]]:
    """Rows of this part, from the last line of the command."""
    monkeypatch.setattr(growth, "settle", lambda: None)  # it is for a whole process, and this one has other tests
    flags = ["growth", "--part", part, "--sizes", f"{part}={sizes}", "--seconds", str(SECONDS), "--json"]
    found = CliRunner().invoke(build(), flags)
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout.splitlines()[-1])
    assert set(told) == {"log", "seconds", part}
    rows: list[dict[str, Any]] = told[part]
    assert [row[next(iter(row))] for row in rows] == [int(size) for size in sizes.split(",")]
    return rows


@pytest.mark.real
def test_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What each takes is told against the fewest, and is no less than its state and no more than a kilobyte."""
    few, many = ran(monkeypatch, "accounts", "1000,60000")
    assert "bytes_an_account" not in few
    assert 100 < many["bytes_an_account"] < 1_000
    assert min(row["deposits_replayed_per_second"] for row in (few, many)) > 0
    assert few["p50_ms"] <= few["p99_ms"]


@pytest.mark.real
def test_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row has a rate, and percentiles at a fixed one."""
    for row in ran(monkeypatch, "partitions", "1,3"):
        assert row["commands_per_second"] > 0
        assert 0 < row["p50_ms"] <= row["p99_ms"]


@pytest.mark.real
def test_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """They share the partitions evenly before anything is measured."""
    one, two = ran(monkeypatch, "processes", "1,2")
    assert (one["led_by_the_busiest"], two["led_by_the_busiest"]) == (6, 3)
    assert min(row[f"commands_per_second_{way}"] for row in (one, two) for way in ("to_the_leader", "to_anybody")) > 0


@pytest.mark.real
def test_payloads() -> None:
    """Every text arrives as long as it was sent."""

    async def measured() -> None:
        with ExitStack() as stack:
            ground = stack.enter_context(Site("sqlite", stack.enter_context(bench_folder())).at())
            with cservers(ground, kind=payloads.NOTES) as (leader,):
                async with client(leader) as to:
                    await to.send(payloads.writing_frames(5_000, 10, 20), in_flight=4)
                async with grpc.aio.insecure_channel(leader.addresses["grpc"]) as channel:
                    ask = channel.unary_unary(
                        "/notes.v1.Notes/GetNote",
                        request_serializer=GetNote.SerializeToString,
                        response_deserializer=NoteView.FromString,
                    )
                    views = [await ask(GetNote(note=name), timeout=10) for name in payloads.NAMES]
        assert {(view.length, view.written) for view in views} == {(5_000, 2)}

    asyncio.run(measured())


@pytest.mark.real
def test_megabytes_are_those_of_the_payloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands a second times their bytes."""
    (row,) = ran(monkeypatch, "payloads", "2000")
    assert row["megabytes_per_second"] == pytest.approx(row["commands_per_second"] * 2_000 / 1e6, abs=0.01)


@pytest.mark.real
def test_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log grows by each command, and the window is one that fills."""
    assert min(growth.PARTS["history"].sizes) >= history.WINDOW
    few, many = ran(monkeypatch, "history", "1000,20000")
    assert many["log_mb"] > few["log_mb"]
    assert few["rss_mb"] > 0


def test_frames_for_a_leader_are_of_its_partition_alone() -> None:
    """Or some of them would be sent on, and counted as if they were not."""
    for number in range(shares.PARTITIONS):
        frames = [CommandFrame.FromString(frame) for frame in shares.one_partition(number, 3)]
        payload_lists = [frame.commands.payloads for frame in frames]
        names = {Deposit.FromString(payload).account for payload_list in payload_lists for payload in payload_list}
        assert {partition_of(name, shares.PARTITIONS) for name in names} == {number}
        ids = [command_id for frame in frames for command_id in frame.commands.command_ids]
        assert len(ids) == len(set(ids)) == 300


def test_parts_and_sizes_that_are_not_there_are_refused() -> None:
    """With what there is."""
    for names, told, said in (
        (["acounts"], [], "there are accounts, partitions"),
        (["accounts"], ["partition=1"], "there are accounts, partitions"),
        (["accounts"], ["history=1000"], "history, which --part does not name"),
        (["accounts"], ["accounts"], "say it as accounts=1000,2000"),
        (["partitions"], ["partitions=65"], "from 1 to 64"),
        (["processes"], ["processes=0"], "from 1 to 3"),
    ):
        with pytest.raises(typer.BadParameter, match=said):
            growth.chosen_sizes(names, told)
