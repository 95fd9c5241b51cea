"""`bennu journal dump | verify` on the journal of a real CServer."""

import asyncio
import json
import shutil
from typing import Any

import pytest

import bennu.log
from bank.v1.queries_pb2 import AccountView
from bennu.ops.apps import load_app
from bennu.testing import golden
from tests.cli.journals import APP, TOPIC, Journal
from tests.cli.shell import BANK, Shell
from tests.journal_writer import Entry, JournalWriter

Record = dict[str, Any]


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Journal:
    """Two epochs, a rejection, a failed rule, a duplicate and a void record."""
    made = Journal(tmp_path_factory.mktemp("journal"))
    made.make()
    return made


def dumped(bennu: Shell, journal: Journal, *more: object) -> list[Record]:
    """One JSON object a line."""
    told = bennu("journal", "dump", "--log", journal.log_url, "--topic", TOPIC, "--json", *more)
    assert (told.code, told.err) == (0, "")
    return [json.loads(line) for line in told.out.splitlines()]


def verified(bennu: Shell, *more: object) -> list[Record]:
    """The counts of each journal, which must all be well."""
    told = bennu("journal", "verify", "--json", *more)
    assert (told.code, told.err) == (0, "")
    assert json.loads(told.out)["ok"] is True
    found: list[Record] = json.loads(told.out)["journals"]
    return found


def entries(records: list[Record]) -> dict[str, Record]:
    """By command id."""
    return {entry["command_id"]: entry for record in records for entry in record.get("entries", ())}


def test_dump_says_what_each_record_is(bennu: Shell, journal: Journal) -> None:
    """In order, from offset 0, what every reader of the journal makes of it; those that do not count are shown."""
    records = dumped(bennu, journal)
    assert [record["offset"] for record in records] == list(range(len(journal.verdicts)))
    assert [record["verdict"] for record in records] == journal.verdicts
    assert {"effective", "duplicate", "void"} == set(journal.verdicts)
    assert [record["epoch"] for record in records if record["kind"] == "epoch_start"] == [1, 1, 2]


def test_dump_shows_events_and_refusals(bennu: Shell, journal: Journal) -> None:
    """With the app, events are readable; a rejection is named after its rule; a rule that failed is there too."""
    found = entries(dumped(bennu, journal, "--app", APP))
    (event,) = found["deposit"]["events"]
    assert (event["type"], event["data"]["amount_minor"]) == ("bank.v1.Deposited", "100")
    assert (found["deposit"]["outcome"], found["deposit"]["actor"]) == ("event", "teller")
    assert found["too-much"]["outcome"] == "rejected"
    assert found["too-much"]["reply"]["reason"] == "insufficient_funds"
    assert found["failed"]["outcome"] == "failed"
    assert found["failed"]["reply"]["reason"] == "rule_failed"
    assert found["failed"]["events"] == []


def test_dump_without_the_app_knows_no_events(bennu: Shell, journal: Journal) -> None:
    """Their types and bytes are shown; Bennu's own messages are readable all the same."""
    found = entries(dumped(bennu, journal))
    (event,) = found["deposit"]["events"]
    assert event["type"] == "bank.v1.Deposited"
    assert isinstance(event["data"], str)
    assert found["too-much"]["reply"]["reason"] == "insufficient_funds"


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [([], slice(None)), (["--from", 2], slice(2, None)), (["--from", 1, "--limit", 3], slice(1, 4))],
)
def test_dump_prints_a_part(bennu: Shell, journal: Journal, flags: list[object], wanted: slice) -> None:
    """--from and --limit choose what is printed, and change nothing of what it is."""
    assert dumped(bennu, journal, *flags) == dumped(bennu, journal)[wanted]


def test_dump_from_beyond_the_end_prints_nothing(bennu: Shell, journal: Journal) -> None:
    """It does not wait for what may come."""
    assert dumped(bennu, journal, "--from", 1000) == []


def test_dump_for_a_person(bennu: Shell, journal: Journal) -> None:
    """A line a record, and its entries below."""
    told = bennu("journal", "dump", "--log", journal.log_url, "--topic", TOPIC, "--app", APP)
    assert (told.code, told.err) == (0, "")
    lines = told.out.splitlines()
    heads = [line for line in lines if not line.startswith(" ")]
    assert [line.split("  ")[:2] for line in heads] == [
        [f"offset {offset}", f"verdict {verdict}"] for offset, verdict in enumerate(journal.verdicts)
    ]
    assert "    too-much  bank.v1.Withdraw  rejected  by teller" in lines


def test_what_clients_wrote_cannot_move_the_cursor(bennu: Shell) -> None:
    """An id is any text: what a terminal would obey is printed as an escape."""
    url = f"sqlite:{bennu.folder / 'log'}"
    asyncio.run(written(url, ["\x1b[2J\N{RIGHT-TO-LEFT OVERRIDE}", "one\ntwo", "tünde:smile:"]))
    told = bennu("journal", "dump", "--log", url, "--topic", TOPIC)
    assert (told.code, told.err) == (0, "")
    assert [line.split()[0] for line in told.out.splitlines() if "test.Command" in line] == [
        "\\x1b[2J\\u202e",
        "one\\ntwo",
        "tünde:smile:",
    ]


async def written(url: str, command_ids: list[str]) -> None:
    """A journal of one batch, whose events are of a type that is none."""
    async with bennu.log.open(url) as log:
        await log.create(TOPIC)
        writer = JournalWriter(log, TOPIC)
        await writer.epoch()
        await writer.batch([Entry(name, [AccountView(account="a")]) for name in command_ids], recorded_at_us=1)


def test_verify_counts_what_stands(bennu: Shell, journal: Journal) -> None:
    """With the app, its journals are found, and the rules replay the events."""
    (found,) = verified(bennu, "--log", journal.log_url, "--app", APP)
    kinds = {name: journal.verdicts.count(name) for name in ("void", "duplicate", "effective")}
    assert (found["topic"], found["replayed"]) == (TOPIC, True)
    assert (found["void"], found["duplicates"]) == (kinds["void"], kinds["duplicate"]) == (1, 1)
    assert found["epochs"] + found["batches"] == kinds["effective"]
    assert (found["epochs"], found["entries"], found["events"]) == (2, 6, 4)
    assert found["records"] == len(journal.verdicts)


def test_verify_of_one_topic_needs_no_app(bennu: Shell, journal: Journal) -> None:
    """Order, epochs and the digest chain are Bennu's own; nothing is replayed then."""
    (found,) = verified(bennu, "--log", journal.log_url, "--topic", TOPIC)
    assert (found["records"], found["replayed"]) == (len(journal.verdicts), False)


def test_verify_for_a_person(bennu: Shell, journal: Journal) -> None:
    """The same counts in words."""
    told = bennu("journal", "verify", "--log", journal.log_url, "--app", APP)
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith(f"{TOPIC}: all is well, and this build can replay it\n")
    assert "duplicates 1, void 1" in told.out


@pytest.mark.parametrize("flags", [["--topic", TOPIC], ["--app", APP]])
@pytest.mark.parametrize(
    ("checksum_too", "said"),
    [
        (False, f"{TOPIC}: the record at offset 2 fails its checksum"),
        (True, f"{TOPIC}, offset 3: batch 3 does not continue the digest chain"),
    ],
)
def test_a_flipped_bit_is_found(
    bennu: Shell, journal: Journal, *, flags: list[str], checksum_too: bool, said: str
) -> None:
    """Exit code 70, with topic, offset and reason; also when the log itself has noticed nothing."""
    url = journal.spoilt(bennu.folder, 2, checksum_too=checksum_too)
    told = bennu("journal", "verify", "--log", url, *flags)
    assert (told.code, told.out, told.error) == (70, "", said)


def test_a_flipped_bit_is_told_to_programs_too(bennu: Shell, journal: Journal) -> None:
    """--json: what is wrong, as an object."""
    url = journal.spoilt(bennu.folder, 2, checksum_too=False)
    told = bennu("journal", "verify", "--json", "--log", url, "--app", APP)
    assert told.code == 70
    assert told.json == {"ok": False, "problem": "RecordBroken", "reason": told.error}


def test_dump_prints_what_stands_before_a_broken_record(bennu: Shell, journal: Journal) -> None:
    """All that can be trusted, and then what is wrong; nothing is skipped."""
    url = journal.spoilt(bennu.folder, 2, checksum_too=False)
    told = bennu("journal", "dump", "--json", "--log", url, "--topic", TOPIC)
    assert told.code == 70
    assert [json.loads(line)["offset"] for line in told.out.splitlines()] == [0, 1]
    assert "offset 2" in told.error


@pytest.mark.parametrize("command", ["dump", "verify"])
def test_a_topic_that_is_not_there(bennu: Shell, journal: Journal, command: str) -> None:
    """A wrong name is no broken log."""
    told = bennu("journal", command, "--log", journal.log_url, "--topic", "bank-events-9")
    assert (told.code, told.out) == (1, "")
    assert "bank-events-9" in told.error


@pytest.mark.parametrize("flags", [["--topic", TOPIC], ["--app", APP]])
def test_another_number_of_partitions_is_refused(bennu: Shell, journal: Journal, flags: list[str]) -> None:
    """Each journal says how many there are: a wrong --partitions is never taken at its word."""
    told = bennu("journal", "verify", "--log", journal.log_url, *flags, "--partitions", 2)
    assert (told.code, told.out) == (78, "")
    assert told.error.startswith(f"{TOPIC}: the app has 1 partitions, but this process was told 2; ")


def several(bennu: Shell, *topics: str, partitions: int) -> str:
    """URL of a log with these journals, in each of which an epoch began."""
    url = f"sqlite:{bennu.folder / 'several'}"
    for topic in topics:
        asyncio.run(begun(url, topic, partitions))
    return url


async def begun(url: str, topic: str, partitions: int) -> None:
    async with bennu.log.open(url) as log:
        await log.create(topic)
        await JournalWriter(log, topic, partition=int(topic[-1]), partitions=partitions).epoch()


@pytest.mark.parametrize("lost", ["bank-events-0", "bank-events-1", "bank-events-2", "bank-saga-1"])
@pytest.mark.parametrize("flags", [[], ["--partitions", 3]])
def test_a_lost_journal_is_missed(bennu: Shell, lost: str, flags: list[object]) -> None:
    """The others say how many there are: one that is not there is named, exit code 70; also the first and the last."""
    there = [f"bank-{kind}-{number}" for kind in ("events", "saga") for number in range(3)]
    url = several(bennu, *there, partitions=3)
    assert len(verified(bennu, "--log", url, "--app", BANK, *flags)) == len(there)
    (bennu.folder / "several" / f"{lost}.sqlite").unlink()
    told = bennu("journal", "verify", "--log", url, "--app", BANK, *flags)
    assert (told.code, told.out) == (70, "")
    assert told.error.startswith(f"not in the log: {lost}, but bank-")
    assert "says that there are 3 partitions" in told.error


def test_sagas_need_no_journal(bennu: Shell) -> None:
    """Where none has begun, none is missed; one that is empty is not called well."""
    url = several(bennu, "bank-events-0", "bank-events-1", partitions=2)
    assert len(verified(bennu, "--log", url, "--app", BANK)) == 2
    assert bennu("topics", "create", "--app", BANK, "--partitions", 2, "--log", url).code == 0
    told = bennu("journal", "verify", "--log", url, "--app", BANK)
    assert (told.code, told.err) == (0, "")
    assert told.out.count("all is well") == 2
    assert "bank-saga-1: empty, so nothing was begun there yet\n" in told.out


def test_journals_that_contradict_one_another(bennu: Shell) -> None:
    """Two numbers of partitions are no app's: one of the files is another log's."""
    several(bennu, "bank-events-0", partitions=2)
    told = bennu("journal", "verify", "--log", several(bennu, "bank-events-1", partitions=3), "--app", BANK)
    assert (told.code, told.out) == (70, "")
    assert told.error == ("bank-events-0 says that there are 2 partitions, but bank-events-1 that there are 3")


def test_the_journal_of_another_partition_is_refused(bennu: Shell, journal: Journal) -> None:
    """A file under another's name is found out."""
    moved = shutil.copytree(journal.folder / "log", bennu.folder / "moved")
    (moved / f"{TOPIC}.sqlite").rename(moved / "bank-events-1.sqlite")
    told = bennu("journal", "verify", "--log", f"sqlite:{moved}", "--topic", "bank-events-1", "--app", APP)
    assert (told.code, told.out) == (70, "")
    assert told.error == "bank-events-1, offset 0: this is the journal of partition 0"


def test_nothing_to_verify(bennu: Shell) -> None:
    """Without a topic and an app nobody knows which; and no journal, or none that began, is never called well."""
    told = bennu("journal", "verify")
    assert told.code == 78
    assert told.error == "say which journals: --topic bank-events-0, or --app bank.app:app"
    nothing = "no journal of bank with a record is in sqlite:.bennu/log, so there is nothing to verify"
    for _ in range(2):
        told = bennu("journal", "verify", "--app", BANK)
        assert (told.code, told.out) == (1, "")
        assert told.error.startswith(nothing)
        assert bennu("topics", "create", "--app", BANK).code == 0
    told = bennu("journal", "verify", "--topic", TOPIC)
    assert (told.code, told.out) == (1, "")
    assert told.error == f"{TOPIC} is empty: nothing was begun there, so there is nothing to verify"
    told = bennu("journal", "verify", "--topic", "bank-commands-0")
    assert (told.code, told.out) == (78, "")
    assert told.error == "bank-commands-0 is no journal: those are called like bank-events-0, or bank-saga-0"


def test_export_into_a_file_is_refused(bennu: Shell, journal: Journal) -> None:
    """What is in the place of the folder is named."""
    (bennu.folder / "file").write_text("")
    told = bennu(
        *("journal", "export", "--log", journal.log_url, "--topic", TOPIC, "--app", APP),
        *("--to", "file/bank.golden.json"),
    )
    assert (told.code, told.out, told.error) == (78, "", "file/bank.golden.json: file is no folder")


def test_export_writes_a_golden_history(bennu: Shell, journal: Journal) -> None:
    """The journal as it is, with what today's code makes of it, in a folder that is made; once."""
    path = bennu.folder / "tests" / "golden" / "bank.golden.json"
    export = ("journal", "export", "--log", journal.log_url, "--topic", TOPIC, "--app", APP, "--to", path)
    told = bennu(*export)
    assert (told.code, told.err) == (0, "")
    golden.check(load_app(APP), path)
    content = json.loads(path.read_text())
    assert len(content["records"]) == len(journal.verdicts)
    assert content["replies"]["too-much"]["message"]["reason"] == "insufficient_funds"
    told = bennu(*export)
    assert (told.code, told.error) == (
        78,
        f"{path} is there already, and a golden history is for ever: choose another name",
    )
