"""`bennu inspect` and `bennu repair`: what operators see of states, now and then, and how they mend one."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bank.v1.commands_pb2 import Deposit, OpenAccount, Withdraw
from bennu.v1.journal_pb2 import EventBatch
from bennu.v1.stream_pb2 import CommandFrame
from bennu.wire.partitioning import partition_of
from tests.cli.shell import BANK, Ended, Shell
from tests.cserver.commands import batch_of
from tests.cserver.served import TIMEOUT_S, Server

ANN, BOB, CY = (
    next(name for name in (f"{prefix}-{n}" for n in range(100)) if partition_of(name, 2) == 0)
    for prefix in ("ann", "bob", "cy")
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A bank with three accounts in partition 0, written by single commands and by a frame."""
    with Server(tmp_path_factory.mktemp("inspect")) as found:
        found.start()
        for name in (ANN, BOB):
            found.ask(OpenAccount(account=name, currency="EUR", owner=name.title()))
        commands = [
            Deposit(account=ANN, amount_minor=100, currency="EUR"),
            Deposit(account=BOB, amount_minor=30, currency="EUR"),
            Withdraw(account=ANN, amount_minor=1_000, currency="EUR"),
            OpenAccount(account=CY, currency="CHF", owner="Cy"),
            Withdraw(account=ANN, amount_minor=40, currency="EUR"),
        ]
        answer = next(found.stream.Execute(iter([CommandFrame(commands=batch_of(commands))]), timeout=TIMEOUT_S))
        assert list(answer.codes) == [0, 0, 9, 0, 0]
        yield found
        assert found.errors() == []


def called(bennu: Shell, server: Server, *arguments: object) -> Ended:
    """A command that asks this server."""
    return bennu(*arguments, "--grpc", server.process.announced["grpc"])


def lines(ended: Ended) -> list[Any]:
    """One object a line."""
    assert ended.code == 0, ended.err
    return [json.loads(line) for line in ended.out.splitlines()]


def test_one_state_is_printed(bennu: Shell, server: Server) -> None:
    """Kind, key and the fields of the state."""
    ended = called(bennu, server, "inspect", "get", "--kind", "Account", "--key", ANN, "--json")
    (found,) = lines(ended)
    assert (found["kind"], found["key"], found["state"]["balance_minor"]) == ("Account", ANN, 60)
    assert ANN in called(bennu, server, "inspect", "get", "--kind", "Account", "--key", ANN).out


def test_what_is_not_there_is_said(bennu: Shell, server: Server) -> None:
    """Exit code 1 with the reason, also for a kind that is none; a server that is away is named."""
    missing = called(bennu, server, "inspect", "get", "--kind", "Account", "--key", "nobody")
    assert (missing.code, "AGGREGATE_UNKNOWN" in missing.error) == (1, True)
    wrong = called(bennu, server, "inspect", "get", "--kind", "Order", "--key", "x")
    assert (wrong.code, "(field kind)" in wrong.error) == (1, True)
    away = bennu("inspect", "get", "--kind", "Account", "--key", "x", "--grpc", "127.0.0.1:1")
    assert (away.code, "127.0.0.1:1: UNAVAILABLE" in away.err) == (1, True)


PLACE = ("--kind", "Account", "--partition", 0, "--json")


def test_a_partition_is_listed(bennu: Shell, server: Server) -> None:
    """In the order of keys, all or some."""
    assert [each["key"] for each in lines(called(bennu, server, "inspect", "list", *PLACE))] == [ANN, BOB, CY]
    some = called(bennu, server, "inspect", "list", *PLACE, "--prefix", "b")
    assert [each["key"] for each in lines(some)] == [BOB]
    assert len(lines(called(bennu, server, "inspect", "list", *PLACE, "--limit", 2))) == 2


SEARCHES = {
    "balance_minor>=30": [ANN, BOB],
    "balance_minor < 30": [CY],
    "currency = CHF": [CY],
    'owner != "Cy"': [ANN, BOB],
    "owner ~ nn": [ANN],
}


@pytest.mark.parametrize(("condition", "found"), SEARCHES.items(), ids=SEARCHES)
def test_a_partition_is_searched(bennu: Shell, server: Server, condition: str, found: list[str]) -> None:
    """A condition reads as one says it; a value that is no JSON is a text."""
    ended = called(bennu, server, "inspect", "search", *PLACE, "--where", condition)
    assert [each["key"] for each in lines(ended)] == found


def test_conditions_are_anded_and_checked(bennu: Shell, server: Server) -> None:
    """Several hold together; what is none is wrong usage."""
    two = ("--where", "balance_minor > 0", "--where", "balance_minor < 50")
    assert [each["key"] for each in lines(called(bennu, server, "inspect", "search", *PLACE, *two))] == [BOB]
    assert called(bennu, server, "inspect", "search", *PLACE, "--where", "rich").code == 2
    assert called(bennu, server, "inspect", "search", *PLACE, "--where", "rich = 1").code == 1


# --- the past


def at(bennu: Shell, server: Server, seq: int, *more: object) -> Ended:
    """The states after this event."""
    place = ("--app", BANK, "--log", server.log_url, "--topic", "bank-events-0", "--seq", seq, "--json")
    return bennu("inspect", "at", *place, *more)


def balances(found: list[Any]) -> dict[str, int]:
    """Of the accounts that are printed."""
    return {each["key"]: each["state"]["balance_minor"] for each in found}


def test_each_event_is_a_moment(bennu: Shell, server: Server) -> None:
    """Before and after every event, also within a batch: exactly what had happened by then."""
    batch = max(server.batches(), key=lambda each: len(each.events))
    assert (batch.first_seq, len(batch.events)) == (3, 4), "the frame is one batch, with events 3 to 6"
    history = [
        {},
        {ANN: 0},
        {ANN: 0, BOB: 0},
        {ANN: 100, BOB: 0},
        {ANN: 100, BOB: 30},
        {ANN: 100, BOB: 30, CY: 0},
        {ANN: 60, BOB: 30, CY: 0},
    ]
    assert [balances(lines(at(bennu, server, seq))) for seq in range(7)] == history


def test_a_moment_names_its_event(bennu: Shell, server: Server) -> None:
    """Beside the states: which event it was and by which command, of a batch that also holds a rejection."""
    ids = [command_id for batch in server.batches() for command_id in batch.command_ids]
    said = at(bennu, server, 5).err
    assert "bank.v1.AccountOpened, by bank.v1.OpenAccount" in said
    assert ids[5] in said


def test_one_aggregate_of_the_past(bennu: Shell, server: Server) -> None:
    """By kind and key."""
    assert balances(lines(at(bennu, server, 4, "--kind", "Account", "--key", BOB))) == {BOB: 30}


def test_what_was_not_there_then_is_said(bennu: Shell, server: Server) -> None:
    """A key is missed with exit code 1 and the moment; that nothing at all was there is no failure."""
    early = at(bennu, server, 4, "--kind", "Account", "--key", CY)
    said = f"no Account with key '{CY}' was there after event 4, bank.v1.Deposited, by bank.v1.Deposit "
    assert (early.code, early.out, said in early.error) == (1, "", True)
    none = at(bennu, server, 4, "--kind", "Transfer")
    assert (lines(none), none.err.splitlines()[-1]) == ([], "no Transfer was there yet")
    assert "before event 1, the first one" in at(bennu, server, 0).err


def test_a_key_of_another_partition_is_led_to_its_own(bennu: Shell, server: Server) -> None:
    """Whoever took the wrong journal need not search for the right one."""
    other = next(name for name in (f"away-{n}" for n in range(100)) if partition_of(name, 2) == 1)
    assert at(bennu, server, 4, "--key", other).error.endswith("; its place is bank-events-1")


def test_the_future_is_not_there(bennu: Shell, server: Server) -> None:
    """Exit code 1 with the newest number; a journal that is not the app's, or a kind that is none, is wrong usage."""
    ended = at(bennu, server, 1_000_000)
    assert (ended.code, "there is no event 1000000; the newest is" in ended.error) == (1, True)
    assert at(bennu, server, 1, "--kind", "Order").code == 2
    other = ("--app", BANK, "--log", server.log_url, "--topic", "bank-saga-0", "--seq", 1)
    assert bennu("inspect", "at", *other).code == 2


# --- repair

DEPOSIT = ("repair", "--app", BANK, "--command", "bank.v1.Deposit")
WHO = ("--actor", "ann@ops", "--reason", "Überweisung doppelt")


def content(**fields: object) -> tuple[str, str]:
    """The command's fields."""
    return "--json", json.dumps(fields)


def entry(server: Server, command_id: str) -> tuple[EventBatch, int] | None:
    """The batch that holds this command, and where."""
    for partition in range(2):
        for batch in server.batches(partition):
            if command_id in batch.command_ids:
                return batch, list(batch.command_ids).index(command_id)
    return None


@pytest.fixture
def repairs(server: Server) -> str:
    """An account of partition 1, whose journal no test of the past reads."""
    name = next(each for each in (f"mend-{n}" for n in range(100)) if partition_of(each, 2) == 1)
    server.ask(OpenAccount(account=name, currency="EUR"), {"idempotency-key": "mend"})
    return name


def test_a_repair_is_tried_first(bennu: Shell, server: Server, repairs: str) -> None:
    """Without --yes it says what would be, and does nothing."""
    fields = content(account=repairs, amount_minor=5, currency="EUR")
    for more in ((), ("--dry-run",), ("--dry-run", "--yes")):
        ended = called(bennu, server, *DEPOSIT, *fields, *WHO, "--id", "tried", "--as-json", *more)
        (found,) = lines(ended)
        assert (found["what"], found["events"][0]["type"]) == ("would be", "bank.v1.Deposited")
        assert "nothing was done" in ended.err
    assert entry(server, "tried") is None


def test_a_repair_is_done_with_its_reason(bennu: Shell, server: Server, repairs: str) -> None:
    """With --yes it is tried, then done; actor and reason stand in the journal, and `journal dump` shows them."""
    fields = content(account=repairs, amount_minor=5, currency="EUR")
    tried, done = lines(called(bennu, server, *DEPOSIT, *fields, *WHO, "--id", "done", "--yes", "--as-json"))
    assert (tried["what"], done["what"], done["reply"]) == ("would be", "done", tried["reply"])
    found = entry(server, "done")
    assert found is not None
    batch, index = found
    origin = batch.origins[batch.origin_indexes[index] if batch.origin_indexes else 0]
    assert (origin.actor, origin.reason) == ("ann@ops", "Überweisung doppelt")
    dump = bennu("journal", "dump", "--topic", "bank-events-1", "--log", server.log_url)
    assert "by ann@ops, because: Überweisung doppelt" in dump.out


def test_a_repair_that_would_be_refused_is_not_done(bennu: Shell, server: Server, repairs: str) -> None:
    """The rule is named, and the command is not sent."""
    withdraw = ("repair", "--app", BANK, "--command", "bank.v1.Withdraw")
    fields = content(account=repairs, amount_minor=10**12, currency="EUR")
    ended = called(bennu, server, *withdraw, *fields, *WHO, "--id", "poor", "--yes")
    assert (ended.code, "insufficient_funds" in ended.err) == (1, True)
    assert entry(server, "poor") is None


WRONG = {
    "no reason": (("--actor", "ann"), content(account="a"), "--reason"),
    "no actor": (("--reason", "why"), content(account="a"), "--actor"),
    "empty reason": (("--actor", "ann", "--reason", " "), content(account="a"), "--reason"),
    "unknown field": (WHO, content(acount="a"), "acount"),
    "wrong type": (WHO, content(account="a", amount_minor="much"), "amount_minor"),
    "no JSON": (WHO, ("--json", "{"), "--json"),
}


@pytest.mark.parametrize(("who", "fields", "named"), WRONG.values(), ids=WRONG)
def test_a_repair_names_what_is_wrong(bennu: Shell, who: tuple[str, ...], fields: tuple[str, str], named: str) -> None:
    """Wrong usage names the flag or the field, before anything is asked of a server."""
    ended = bennu(*DEPOSIT, *fields, *who)
    assert (ended.code, named in ended.error) == (2, True), ended.err


def test_an_unknown_command_is_named_with_those_there_are(bennu: Shell) -> None:
    """Also a command that has no rpc, which only sagas send, is not a repair."""
    for name in ("bank.v1.Reverse", "bank.v1.WithdrawForTransfer"):
        ended = bennu("repair", "--app", BANK, "--command", name, "--json", "{}", *WHO)
        assert ended.code == 2
        assert f"{name} is not a command of bank; there are bank.v1.BlockPayee" in ended.error


def test_a_value_that_validation_refuses_is_named(bennu: Shell, server: Server, repairs: str) -> None:
    """The service's own checks say which field."""
    ended = called(bennu, server, *DEPOSIT, *content(account=repairs, amount_minor=-1, currency="EUR"), *WHO)
    assert (ended.code, "(field amount_minor)" in ended.error) == (1, True)
