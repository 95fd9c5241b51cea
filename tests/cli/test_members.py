"""`bennu members` and `bennu handover`: what an operator is told, by processes that only say that they are there."""

import asyncio

import pytest

import bennu.log
from bennu.log.port import Log
from bennu.members import records
from bennu.v1.members_pb2 import SEAT_PART_FOLLOWS, SEAT_PART_LEADS, SEAT_PART_STARTING, Heartbeat, Seat
from tests.cli.shell import BANK, Ended, Shell

TOPIC = "bank-members"
PARTS = {"ann": SEAT_PART_LEADS, "bob": SEAT_PART_FOLLOWS, "cy": SEAT_PART_STARTING}
BEAT_S = 0.2


class Cluster:
    """Three processes beat while a command runs, and do nothing that is asked of them."""

    def __init__(self, bennu: Shell) -> None:
        self._bennu = bennu
        self._url = f"sqlite:{bennu.folder / 'log'}"

    def __call__(self, *arguments: object) -> Ended:
        return asyncio.run(self._beside(arguments))

    async def _beside(self, arguments: tuple[object, ...]) -> Ended:
        async with bennu.log.open(self._url) as log:
            await log.create(TOPIC)
            beating = asyncio.create_task(self._beat(log))
            command = (*arguments, "--app", BANK, "--log", self._url)
            try:
                return await asyncio.to_thread(self._bennu, *command)
            finally:
                beating.cancel()
                await asyncio.wait((beating,))

    async def _beat(self, log: Log) -> None:
        while True:
            for node, part in PARTS.items():
                seats = [Seat(partition=number, part=part, epoch=1) for number in range(8)]
                beat = Heartbeat(node=node, life=1, count=1, service="cserver", seats=seats)
                await log.append(TOPIC, records.encode(beat))
            await asyncio.sleep(BEAT_S)


@pytest.fixture
def cluster(bennu: Shell) -> Cluster:
    """Of `ann`, who leads all, `bob`, who follows, and `cy`, who reads yet."""
    return Cluster(bennu)


def test_who_is_there_is_printed(cluster: Cluster) -> None:
    """Each process, and what it does in each partition."""
    said = cluster("members").out
    assert said.count("leads, epoch 1") == said.count("follows, epoch 1") == said.count("reads the journal") == 8
    assert "cserver ann lives" in said


HANDOVERS = {
    "no such partition": (
        ("--partition", 99, "--to", "bob"),
        "no partition 99 of cserver: there are 8 partitions, 0 to 7",
    ),
    "nobody of the service": (
        ("--partition", 0, "--to", "bob", "--service", "saga"),
        "no process of service saga was heard",
    ),
    "no such node": (("--partition", 0, "--to", "dan"), "dan can't lead partition 0: it is not there; bob could"),
    "not yet": (
        ("--partition", 0, "--to", "cy"),
        "cy can't lead partition 0: it does not follow it: it is still reading; bob",
    ),
}


@pytest.mark.parametrize(("arguments", "said"), HANDOVERS.values(), ids=HANDOVERS)
def test_what_can_not_be_handed_over_is_told_with_what_can(
    cluster: Cluster, arguments: tuple[object, ...], said: str
) -> None:
    """Exit code 1; the reason, and what there is instead."""
    ended = cluster("handover", *arguments)
    assert (ended.code, said in ended.error) == (1, True), ended.error


def test_whoever_leads_already_is_told_so(cluster: Cluster) -> None:
    """There is nothing to do, and it is what was wanted."""
    ended = cluster("handover", "--partition", 0, "--to", "ann")
    assert (ended.code, ended.out) == (0, "ann leads partition 0 of cserver\n")


def test_a_service_that_is_none_is_named_with_those_there_are(bennu: Shell) -> None:
    """Before anybody listens to anything."""
    ended = bennu("handover", "--app", BANK, "--partition", 0, "--to", "ann", "--service", "sage")
    assert ended.code == 2
    assert "'sage' is not one of 'cserver', 'saga'" in ended.error


@pytest.mark.parametrize(
    "command", [("members",), ("handover", "--partition", 0, "--to", "ann")], ids=lambda words: words[0]
)
def test_a_log_that_is_not_there_is_told_with_how_to_name_another(bennu: Shell, command: tuple[object, ...]) -> None:
    """Most often it is the log of `bennu dev`, and the default was meant for services that were started one by one."""
    ended = bennu(*command, "--app", BANK)
    assert ended.code == 1
    assert "bank-members: no file" in ended.error
    assert "--log or BENNU_LOG names it; `bennu dev` has its own, sqlite:.bennu/dev/log" in ended.error
