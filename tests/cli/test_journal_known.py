"""`bennu journal verify --app`: whether this build can replay a journal, and what of it it does not know."""

import asyncio
import json
from collections.abc import Sequence

from google.protobuf.message import Message

from bank.transfer import TransferSaga
from bank.v1.commands_pb2 import Deposit
from bank.v1.events_pb2 import AccountOpened, Deposited
from bank.v1.queries_pb2 import AccountView
from bennu.log import open as open_log
from bennu.replica.fold import AggregateFold
from bennu.replica.journal import encode
from bennu.v1.saga_pb2 import SagaEnded, SagaStarted
from tests.cli.shell import BANK, Shell
from tests.journal_writer import Entry, JournalWriter
from tests.replica.test_replay import APP as COUNTING

EVENTS, SAGAS = "bank-events-0", "bank-saga-0"
UPCASTING = "tests.replica.test_replay:APP"


async def written(url: str, topic: str, batches: Sequence[Sequence[Message]]) -> None:
    """A journal of one epoch, with an entry for each event."""
    async with open_log(url) as log:
        await log.create(topic)
        writer = JournalWriter(log, topic)
        await writer.epoch()
        for number, events in enumerate(batches):
            entries = [Entry(f"id-{number}-{n}", [event]) for n, event in enumerate(events)]
            await writer.batch(entries, recorded_at_us=1)


def journal(bennu: Shell, topic: str, *batches: Sequence[Message]) -> str:
    """URL of a log that holds it."""
    url = f"sqlite:{bennu.folder / 'log'}"
    asyncio.run(written(url, topic, batches))
    return url


OPENED = AccountOpened(account="a", owner="Ann", currency="EUR")
DEPOSITED = Deposited(account="a", amount_minor=1, balance_minor=1)


def test_a_build_that_knows_all_says_so(bennu: Shell) -> None:
    """In one sentence, with the events by type."""
    url = journal(bennu, EVENTS, [OPENED, DEPOSITED], [DEPOSITED])
    told = bennu("journal", "verify", "--log", url, "--topic", EVENTS, "--app", BANK)
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith(f"{EVENTS}: all is well, and this build can replay it\n")
    assert told.out.endswith("    bank.v1.AccountOpened 1\n    bank.v1.Deposited 2\n")


def test_all_that_is_not_known_is_named_at_once(bennu: Shell) -> None:
    """Each type with its number, and the place of its first event; exit code 70."""
    view, command = AccountView(account="a"), Deposit(account="a")
    url = journal(bennu, EVENTS, [OPENED, view], [DEPOSITED, command, view])
    told = bennu("journal", "verify", "--log", url, "--app", BANK)
    assert (told.code, told.out) == (70, "")
    assert told.error == (
        f"this build can't replay {EVENTS}: "
        "event type bank.v1.AccountView (2, the first at offset 1, batch 1, seq 2); "
        "event type bank.v1.Deposit (1, the first at offset 2, batch 2, seq 4)"
    )


def test_programs_are_told_too(bennu: Shell) -> None:
    """--json has every type, with what this build knows of it."""
    url = journal(bennu, EVENTS, [OPENED], [AccountView(account="a")])
    told = bennu("journal", "verify", "--json", "--log", url, "--app", BANK)
    assert told.code == 70
    said = json.loads(told.out)
    assert (said["ok"], said["problem"], said["reason"]) == (False, "UnknownToBuild", told.error)
    (found,) = said["journals"]
    first = {"events": 1, "offset": 2, "batch_no": 2, "seq": 2, "known": False, "upcast_to": ""}
    assert found["types"]["bank.v1.AccountView"] == first
    assert found["types"]["bank.v1.AccountOpened"]["known"] is True
    assert (found["replayed"], len(found["lacks"])) == (False, 1)


def test_what_is_upcast_is_said(bennu: Shell) -> None:
    """An old type is replayed as what it means now, through all steps."""
    url = journal(bennu, "counting-events-0", [OPENED, DEPOSITED])
    told = bennu("journal", "verify", "--log", url, "--app", UPCASTING)
    assert (told.code, told.err) == (0, "")
    assert "    bank.v1.AccountOpened 1, upcast to bank.v1.Deposited\n    bank.v1.Deposited 1\n" in told.out


def test_digests_of_states_of_another_form_are_counted(bennu: Shell) -> None:
    """They were written by a build whose states have other fields, and are not held against this one."""
    told = bennu("journal", "verify", "--log", digested(bennu, b"\0\0\0\0"), "--app", UPCASTING)
    assert (told.code, told.err) == (0, "")
    assert "digests of state 1: 0 agree, 1 of another form\n" in told.out


def test_a_digest_that_differs_is_an_end(bennu: Shell) -> None:
    """A cold replay differs: the batch, its events and what it touched are named; exit code 70."""
    told = bennu("journal", "verify", "--log", digested(bennu, AggregateFold(COUNTING).form), "--app", UPCASTING)
    assert (told.code, told.out) == (70, "")
    assert told.error.startswith("counting-events-0, offset 1: batch 1 (events 1 to 1) is the first after which")
    assert "it touched CounterRules a." in told.error


def digested(bennu: Shell, form: bytes) -> str:
    """A journal whose digest is of this form, and of no state."""

    async def work() -> None:
        async with open_log(url) as log:
            await log.create("counting-events-0")
            writer = JournalWriter(log, "counting-events-0")
            await writer.epoch()
            batch = writer.build([Entry("id", [DEPOSITED])], recorded_at_us=1)
            batch.state_digest = form + bytes(16)
            await writer.append(encode(batch))

    url = f"sqlite:{bennu.folder / 'log'}"
    asyncio.run(work())
    return url


def started(name: str, definition: str, version: int, *, trigger: str) -> SagaStarted:
    """The beginning of a saga."""
    return SagaStarted(saga_id=name, definition=definition, version=version, trigger_type=trigger)


def test_sagas_under_way_that_the_app_does_not_declare_are_named(bennu: Shell) -> None:
    """A saga ends on the definition that it began with; those that ended need none."""
    trigger, mine = "bank.v1.TransferRequested", TransferSaga.__qualname__
    url = journal(
        bennu,
        SAGAS,
        [started("s1", mine, TransferSaga.version, trigger=trigger), started("s2", mine, 99, trigger=trigger)],
        [
            started("s3", "Gone", 1, trigger="bank.v1.Gone"),
            started("s4", "Gone", 2, trigger=trigger),
            SagaEnded(saga_id="s4"),
        ],
    )
    told = bennu("journal", "verify", "--log", url, "--topic", SAGAS, "--app", BANK)
    assert (told.code, told.out) == (70, "")
    assert told.error == (
        f"this build can't replay {SAGAS}: saga {mine}, version 99 (1 under way); saga Gone, version 1 (1 under way); "
        "event type bank.v1.Gone (it started 1 sagas under way)"
    )


def test_records_of_a_later_saga_journal_are_named(bennu: Shell) -> None:
    """What no version of Bennu up to this one writes."""
    url = journal(bennu, SAGAS, [DEPOSITED])
    told = bennu("journal", "verify", "--log", url, "--topic", SAGAS)
    assert told.code == 70
    assert "event type bank.v1.Deposited (1, the first at offset 1, batch 1, seq 1)" in told.error
