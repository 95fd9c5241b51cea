"""`bennu drill restore`: a bank that lost its log and tables is built again from its archive, and all is compared."""

import json
from dataclasses import dataclass

import pytest

from bank.app import app
from bank.v1.events_pb2 import AccountOpened
from bennu.drill.rebuilding import Records, command_ids, differences, state_digests
from bennu.log.memory import MemoryBroker, MemoryLog
from tests.cli.running import folder_for_all, running
from tests.journal_writer import Entry, JournalWriter
from tests.log.helpers import run

TOPIC = "bank-events-0"
HOLDS = (
    "journals_equal",
    "digests_equal",
    "tables_match",
    "money_conserved",
    "answered_was_durable",
    "nothing_archived_missing",
    "replies_equal",
    "archive_goes_on",
    "snapshots_used",
)


@pytest.mark.real
def test_a_bank_is_built_again_from_its_archive() -> None:
    """Killed under load and destroyed, the bank comes back with all that was archived, and the loss is stated."""
    drill = ("drill", "restore", "--log", "sqlite", "--transfers", "200", "--json")
    with folder_for_all() as folder, running(folder, *drill) as command:
        said = list(command.lines())
        assert command.wait() == 0, command.errors()
    found = json.loads(said[-1])
    assert found["ok"] is True
    assert found["problems"] == []
    assert [name for name in HOLDS if found[name] is not True] == []
    # How many were lost is how much a machine answers until an archiver looks again: only that some are kept is sure.
    assert found["answered"] >= 200
    assert found["answered_and_lost"] < found["answered"]
    assert found["archived_records"] == sum(last + 1 for last in found["last_archived"].values())
    assert found["repeated"] > 0
    assert found["answered_after"] >= 50


@dataclass
class History:
    """A journal of three batches, each of which opens an account."""

    records: Records
    ends: dict[str, int]


@pytest.fixture
def history() -> History:
    broker = MemoryBroker()

    async def write() -> None:
        log = MemoryLog(broker)
        await log.create(TOPIC)
        writer = JournalWriter(log, TOPIC)
        await writer.epoch()
        for name in ("ann", "ben", "cid"):
            event = AccountOpened(account=name, owner=name, currency="EUR")
            await writer.batch([Entry(f"open-{name}", [event])], recorded_at_us=1)

    run(write())
    bodies = [body for body in broker.records(TOPIC) if body is not None]
    return History({TOPIC: bodies}, {TOPIC: 3})


def test_a_changed_or_missing_record_is_noticed(history: History) -> None:
    """What was archived is compared byte for byte, to its end and no further."""
    good = history.records[TOPIC]
    assert differences(history.records, {TOPIC: good[:3]}, history.ends) == []
    assert differences(history.records, {TOPIC: [*good[:3], b"later"]}, history.ends) == []
    assert differences(history.records, {TOPIC: good[:2]}, history.ends) == [
        f"{TOPIC}: the record at offset 2 is not the one that was archived"
    ]
    assert len(differences(history.records, {TOPIC: [good[0], b"x", good[2]]}, history.ends)) == 1


def test_states_and_commands_are_counted_up_to_the_end_of_the_archive(history: History) -> None:
    """A state that one more event made has another digest, and a command beyond the end is lost."""
    whole = {TOPIC: 4}
    assert command_ids(history.records, app, history.ends) == {"open-ann", "open-ben"}
    assert command_ids(history.records, app, whole) == {"open-ann", "open-ben", "open-cid"}
    cut = {TOPIC: history.records[TOPIC][:3]}
    assert state_digests(history.records, app, history.ends) == state_digests(cut, app, history.ends)
    assert state_digests(history.records, app, history.ends) != state_digests(history.records, app, whole)
