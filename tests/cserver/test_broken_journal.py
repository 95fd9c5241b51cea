"""A journal that can't be trusted stops the process: exit 70, and a line with topic, offset and reason."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

import bennu.log
from bank.app import app as bank
from bank.v1.commands_pb2 import Deposit
from bank.v1.events_pb2 import AccountOpened
from bennu.replica.fold import AggregateFold
from bennu.replica.journal import encode
from bennu.v1.journal_pb2 import EventBatch
from tests.cserver.served import Server
from tests.journal_writer import Entry, JournalWriter

TOPIC = "bank-events-0"
OPENED = Entry("open", [AccountOpened(account="a", currency="EUR")])


def changed(**fields: object) -> Callable[[EventBatch], bytes]:
    """The batch with these fields set instead."""

    def change(batch: EventBatch) -> bytes:
        for name in fields:
            batch.ClearField(name)  # type: ignore[arg-type]  # a test names the right ones
        batch.MergeFrom(EventBatch(**fields))  # type: ignore[arg-type]  # as above
        return encode(batch)

    return change


BROKEN: dict[str, tuple[Callable[[EventBatch], bytes], str]] = {
    "noise": (lambda _: b"\xff" * 20, "not a journal record"),
    "a newer format": (changed(format_version=2), "journal format 2"),
    "a gap": (changed(batch_no=3), "batch 3 follows batch 1; one is missing"),
    "another chain": (changed(prev_digest=b"x" * 16), "does not continue the digest chain"),
    "a foreign event": (changed(event_types=["fraud.v1.Noticed"]), "event type fraud.v1.Noticed is not known"),
    "a command as event": (changed(event_types=[Deposit.DESCRIPTOR.full_name]), "event type bank.v1.Deposit"),
    "an unreadable event": (changed(events=[b"\xff\xff"]), "can't be applied"),
    "too few outcomes": (changed(outcomes=[]), "its columns do not fit together"),
    "a reply too few": (changed(outcomes=[2]), "its columns do not fit together"),
    "another state": (
        changed(state_digest=AggregateFold(bank).form + bytes(16)),
        "state differs from the journal's digest",
    ),
}


async def written(log_url: str, spoil: Callable[[EventBatch], bytes]) -> None:
    """A journal of an epoch, a good batch and a spoilt one, which is at offset 2."""
    async with bennu.log.open(log_url) as log:
        await log.create(TOPIC)
        journal = JournalWriter(log, TOPIC)
        await journal.epoch()
        await journal.batch([], recorded_at_us=1)
        await journal.append(spoil(journal.build([OPENED], recorded_at_us=2)))


@pytest.mark.parametrize(("spoil", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_journal_stops_the_service(tmp_path: Path, spoil: Callable[[EventBatch], bytes], reason: str) -> None:
    """Nothing is skipped and nothing served: the process names the record and why it can't go on."""
    with Server(tmp_path, partitions=1) as server:
        asyncio.run(written(server.log_url, spoil))
        server.launch()
        assert server.ended() == 70
    said = str(server.logged("stopped")[-1]["reason"])
    assert said.startswith(f"{TOPIC}, offset 2: ")
    assert reason in said


def test_another_number_of_partitions_is_refused(tmp_path: Path) -> None:
    """The number of partitions is fixed when a journal is created: exit 78, with both numbers, and nothing is made."""
    with Server(tmp_path, partitions=1) as server, Server(tmp_path, partitions=3) as another:
        server.start()
        server.stop()
        there = sorted((tmp_path / "log").glob("*.sqlite"))
        another.launch()
        assert another.ended() == 78
    reason = str(another.logged("stopped")[-1]["reason"])
    assert reason.startswith(f"{TOPIC}: the app has 1 partitions, but this process was told 3; ")
    assert sorted((tmp_path / "log").glob("*.sqlite")) == there
