"""The command log as input: anybody may write to it, each record counts once, nothing in it stops the service."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bank.v1.commands_pb2 import Deposit, OpenAccount, WithdrawForTransfer
from bank.v1.queries_pb2 import AccountView, GetAccount
from bennu.replica.decision import EVENT
from bennu.v1.command_pb2 import CommandBatch, Origin, Rejection
from bennu.v1.journal_pb2 import EventBatch
from tests.cserver.commands import batch_of
from tests.cserver.served import Server

MINE, ELSEWHERE = "d", "a"
"""Keys of partition 0, to whose log the tests write, and of partition 1."""
OPEN = OpenAccount(account=MINE, currency="EUR")
DEPOSIT = Deposit(account=MINE, amount_minor=1, currency="EUR")


def outcomes(batch: EventBatch) -> dict[str, int]:
    """What became of each command of a batch, by its id."""
    return dict(zip(batch.command_ids, batch.outcomes, strict=True))


def reasons(batch: EventBatch) -> dict[str, str]:
    """Why commands of a batch were rejected, by their id."""
    replies: Iterator[bytes] = iter(batch.replies)
    refused = [command_id for command_id, outcome in outcomes(batch).items() if outcome]
    return {command_id: Rejection.FromString(next(replies)).reason for command_id in refused}


def balance(server: Server) -> int:
    """What the tests' account holds."""
    return int(AccountView.FromString(server.ask(GetAccount(account=MINE)).body).balance_minor)


def numbered(first_no: int, *ids: str, source: str = "bank-saga-0") -> bytes:
    """Deposits of a saga's stream, from this number on."""
    batch = batch_of([DEPOSIT] * len(ids), ids)
    batch.source, batch.first_no = source, first_no
    return batch.SerializeToString()


def test_a_record_is_decided_and_its_position_journaled(server: Server) -> None:
    """Commands of a record stand in one journal with the position behind it, and with who sent them."""
    batch = batch_of([OPEN, DEPOSIT], ["log-open", "log-deposit"])
    batch.origins.append(Origin(actor="importer"))
    taken = server.write(batch.SerializeToString())
    assert outcomes(taken) == {"log-open": EVENT, "log-deposit": EVENT}
    assert [origin.actor for origin in taken.origins] == ["importer"]
    assert balance(server) == 1


def test_a_command_without_an_id_is_named_by_its_place(server: Server) -> None:
    """Topic, offset and index are unique, and the same whoever reads the record."""
    taken = server.write(batch_of([DEPOSIT, DEPOSIT]).SerializeToString())
    offset = taken.inputs[0].offset - 1
    assert list(taken.command_ids) == [f"bank-commands-0/{offset}/0", f"bank-commands-0/{offset}/1"]


@pytest.mark.parametrize(
    "body",
    [
        b"\xff" * 20,
        b"\x08\x01",
        CommandBatch(format_version=2, payloads=[b""]).SerializeToString(),
        CommandBatch(format_version=1, payloads=[b""], type_indexes=[3]).SerializeToString(),
        CommandBatch(format_version=1, types=["x" * 4_000_000], payloads=[b""], type_indexes=[0]).SerializeToString(),
        numbered(1, "long-stream", source="x" * 4_000_000),
        numbered(0, "number-none"),
        numbered(1, "nobody-1", source="somebody"),
        numbered(5, "nobody-5", source="somebody"),
        numbered(5, "no-partition", source="bank-saga-2"),
    ],
    ids=[
        *("noise", "no payloads", "format", "type index", "long type", "long stream"),
        *("number 0", "stranger", "stranger with a gap", "no saga of this app"),
    ],
)
def test_garbage_is_counted_logged_and_passed_over(server: Server, body: bytes) -> None:
    """A record that is no batch of commands moves the position and nothing else; the next one is taken."""
    before = server.metric("bennu_garbage_records_total")
    taken = server.write(body)
    assert list(taken.command_ids) == []
    assert server.metric("bennu_garbage_records_total") == before + 1
    line = server.logged("garbage in the command log passed over")[-1]
    assert (line["topic"], line["offset"]) == ("bank-commands-0", taken.inputs[0].offset - 1)
    assert line["reason"]
    assert len(server.write(batch_of([DEPOSIT]).SerializeToString()).command_ids) == 1


def test_what_can_not_be_decided_is_journaled_as_rejected(server: Server) -> None:
    """Who wrote to a log reads the answer in the journal, so a bad command has one there; those beside it go on."""
    server.ask(OPEN)
    commands = [
        DEPOSIT,
        Deposit(account=MINE, amount_minor=0, currency="EUR"),
        Deposit(account=ELSEWHERE, amount_minor=1, currency="EUR"),
        GetAccount(account=MINE),
        Deposit(account="x" * 2_000_000, amount_minor=1, currency="EUR"),
        DEPOSIT,
    ]
    ids = ["good", "amount", "elsewhere", "query", "large", "good-too"]
    taken = server.write(batch_of(commands, ids).SerializeToString())
    assert list(taken.command_ids) == ids
    assert reasons(taken) == {
        "amount": "invalid_argument",
        "elsewhere": "wrong_partition",
        "query": "invalid_argument",
        "large": "command_too_large",
    }


def test_an_id_with_control_characters_is_not_journaled(server: Server) -> None:
    """The rejection stands under the command's place: whoever follows the journal may keep ids in a database."""
    taken = server.write(batch_of([DEPOSIT], ["zero\0"]).SerializeToString())
    (command_id,) = taken.command_ids
    assert reasons(taken) == {command_id: "invalid_argument"}
    assert command_id == f"bank-commands-0/{taken.inputs[0].offset - 1}/0"


def test_an_internal_command_is_taken_from_the_log(server: Server) -> None:
    """What no client may call is decided when it comes by log."""
    command = WithdrawForTransfer(account="e", transfer="t", amount_minor=1, currency="EUR")
    assert reasons(server.write(batch_of([command], ["internal"]).SerializeToString())) == {
        "internal": "account_unknown"
    }


def test_an_id_counts_once_whichever_way_it_comes(server: Server) -> None:
    """A command that was answered by gRPC has no second effect when it comes by log, once or twice."""
    server.ask(OPEN)
    server.ask(DEPOSIT, {"idempotency-key": "both-ways"})
    before = balance(server)
    for _ in range(2):
        assert list(server.write(batch_of([DEPOSIT], ["both-ways"]).SerializeToString()).command_ids) == []
    assert balance(server) == before


def test_a_numbered_stream_counts_each_number_once(server: Server) -> None:
    """Sent twice, overlapping or late, under whatever id: a number has an effect once, and the next one goes on."""
    server.ask(OPEN)
    before = balance(server)
    assert list(server.write(numbered(1, "n1", "n2")).command_ids) == ["n1", "n2"]
    assert list(server.write(numbered(1, "n1", "n2")).command_ids) == []
    assert list(server.write(numbered(2, "n2-again", "n3")).command_ids) == ["n3"]
    taken = server.write(numbered(4, "n4"))
    assert [(cursor.stream, cursor.last_no) for cursor in taken.sources] == [("bank-saga-0", 4)]
    assert balance(server) == before + 4


def test_positions_and_numbers_outlive_the_process(own_server: Server) -> None:
    """After kill -9 no record is taken a second time, and a number that was taken stays taken."""
    own_server.write(batch_of([OPEN, DEPOSIT], ["o", "d"]).SerializeToString())
    own_server.write(numbered(1, "n1", "n2"))
    own_server.kill()
    own_server.start()
    assert list(own_server.write(numbered(1, "n1", "n2", "n3")).command_ids) == ["n3"]
    assert balance(own_server) == 4


def test_a_missing_number_stops_the_service(tmp_path: Path) -> None:
    """Commands are missing, and compensation relies on their order: exit 70 with topic, offset and reason."""
    with Server(tmp_path) as server:
        server.start()
        server.write(batch_of([OPEN]).SerializeToString())
        server.append(numbered(2, "n2"))
        assert server.ended() == 70
    reason = str(server.logged("stopped")[-1]["reason"])
    assert "bank-commands-0, offset 1" in reason
    assert "commands are missing" in reason
