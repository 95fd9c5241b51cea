"""What a command or query is answered: once, the same again, with its place in the journal."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from bank.v1.commands_pb2 import Deposit, OpenAccount, Withdraw
from bank.v1.events_pb2 import Deposited
from bank.v1.queries_pb2 import AccountView, GetAccount
from bennu.replica.window import is_uuid7
from bennu.v1.journal_pb2 import EventBatch
from tests.cserver.served import Answer, Server


def opened(server: Server, account: str) -> str:
    """An open account of this name."""
    server.ask(OpenAccount(account=account, currency="EUR"), {"idempotency-key": f"open-{account}"})
    return account


def deposit(account: str, amount_minor: int = 1) -> Deposit:
    """Money comes in."""
    return Deposit(account=account, amount_minor=amount_minor, currency="EUR")


def balance(server: Server, account: str) -> int:
    """What the account holds now."""
    return int(AccountView.FromString(server.ask(GetAccount(account=account)).body).balance_minor)


def entry_of(batches: list[EventBatch], command_id: str) -> tuple[EventBatch, int]:
    """The batch that answers this command, and the entry's index in it; there is exactly one."""
    found = [(batch, list(batch.command_ids).index(command_id)) for batch in batches if command_id in batch.command_ids]
    assert len(found) == 1
    return found[0]


def test_the_same_command_again_has_no_second_effect(server: Server) -> None:
    """Same id and payload: the original reply, byte for byte, also when the payload's fields come in another order."""
    once = {"idempotency-key": "again"}
    command = deposit(opened(server, "again"), 5)
    first, second = server.ask(command, once), server.ask(command, once)
    assert (first.code, first.body) == ("OK", second.body)
    reordered = b"\x1a\x03EUR" + b"\x10\x05" + b"\x0a\x05again"
    assert server.send("Deposit", reordered, tuple(once.items())).body == first.body
    assert balance(server, "again") == 5


def test_an_id_stands_for_one_command(server: Server) -> None:
    """Same id with another payload, or another method: ALREADY_EXISTS, and nothing happens."""
    once = {"idempotency-key": "one"}
    server.ask(deposit(opened(server, "one"), 5), once)
    for other in (deposit("one", 6), Withdraw(account="one", amount_minor=5, currency="EUR")):
        answer = server.ask(other, once)
        assert (answer.code, answer.reason) == ("ALREADY_EXISTS", "COMMAND_ID_REUSED")
    assert balance(server, "one") == 5


def test_an_absent_id_is_made_and_returned(server: Server) -> None:
    """The server makes a UUIDv7; who keeps it may repeat the command with it."""
    command = deposit(opened(server, "made"), 5)
    first = server.ask(command)
    command_id = str(first.trailing["idempotency-key"])
    assert is_uuid7(command_id)
    assert server.ask(command, {"idempotency-key": command_id}).body == first.body
    assert balance(server, "made") == 5


def test_a_refusal_is_named_after_the_broken_rule(server: Server) -> None:
    """A business refusal is FAILED_PRECONDITION with the rule's name, and as durable as any answer."""
    command, once = (
        Withdraw(account=opened(server, "poor"), amount_minor=1, currency="EUR"),
        {"idempotency-key": "poor"},
    )
    first = server.ask(command, once)
    assert (first.code, first.reason) == ("FAILED_PRECONDITION", "insufficient_funds")
    server.ask(deposit("poor", 10))
    assert server.ask(command, once).status == first.status
    assert balance(server, "poor") == 10


@pytest.mark.parametrize("account", ["nobody", "no-one-else"])
def test_a_query_about_nobody_is_refused_by_name(server: Server, account: str) -> None:
    """A query's refusal reads as a command's."""
    answer = server.ask(GetAccount(account=account))
    assert (answer.code, answer.reason) == ("FAILED_PRECONDITION", "account_unknown")


def test_an_answer_says_where_it_stands(server: Server) -> None:
    """`bennu-position` names the journal and the batch in it that holds the command, its actor and its trace."""
    metadata = {
        "idempotency-key": "placed",
        "bennu-actor": "ann",
        "bennu-correlation-id": "order-17",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }
    answer = server.ask(deposit(opened(server, "a")), metadata)
    batch, index = entry_of(server.batches(1), "placed")
    assert answer.trailing["bennu-position"] == f"bank-events-1:{batch.batch_no}"
    origin = batch.origins[batch.origin_indexes[index] if batch.origin_indexes else 0]
    assert (origin.actor, origin.correlation_id) == ("ann", "order-17")
    assert origin.traceparent == metadata["traceparent"]
    assert batch.command_types[batch.command_type_indexes[index]] == "bank.v1.Deposit"


def test_who_says_no_name_is_anonymous(server: Server) -> None:
    """Every command has an actor, also one that came without."""
    server.ask(OpenAccount(account="b", currency="EUR"), {"idempotency-key": "nameless"})
    batch, _ = entry_of(server.batches(1), "nameless")
    assert [origin.actor for origin in batch.origins] == ["anonymous"]


def place(answer: Answer) -> tuple[str, int]:
    """Journal and batch of an answer's position."""
    topic, _, number = str(answer.trailing["bennu-position"]).rpartition(":")
    return topic, int(number)


def test_a_query_stands_not_before_the_position_asked_for(server: Server) -> None:
    """A position that was given is reached at once; one that was never reached is UNAVAILABLE, to be tried again."""
    topic, number = place(server.ask(deposit(opened(server, "read"))))
    query = GetAccount(account="read")
    answer = server.ask(query, {"bennu-min-position": f"{topic}:{number}"})
    assert answer.code == "OK"
    assert place(answer) >= (topic, number)
    ahead = server.ask(query, {"bennu-min-position": f"{topic}:{number + 1_000}"})
    assert (ahead.code, ahead.reason) == ("UNAVAILABLE", "BEHIND")
    assert ahead.retry_ms > 0


def test_a_linearizable_query_proves_who_leads(server: Server) -> None:
    """It is answered at a batch that was sent after it came; a default query needs none."""
    query = GetAccount(account=opened(server, "proof"))
    before = place(server.ask(query))
    assert place(server.ask(query, {"bennu-consistency": "default"})) == before
    assert place(server.ask(query, {"bennu-consistency": "linearizable"})) > before


def test_answers_outlive_the_process(own_server: Server) -> None:
    """After kill -9 each id gets what it got: a reply, a refusal, ALREADY_EXISTS; each effect stands once."""
    account = opened(own_server, "kept")
    asked = [(deposit(account, 5), {"idempotency-key": "reply"}), (deposit("nobody"), {"idempotency-key": "refusal"})]
    before = [own_server.ask(*call) for call in asked]
    own_server.kill()
    own_server.start()
    after = [own_server.ask(*call) for call in asked]
    assert [(a.code, a.body, a.status) for a in after] == [(a.code, a.body, a.status) for a in before]
    assert own_server.ask(deposit(account, 6), {"idempotency-key": "reply"}).code == "ALREADY_EXISTS"
    assert balance(own_server, account) == 5


def test_who_gave_up_may_ask_again(own_server: Server) -> None:
    """A deadline ends the waiting, not the command: the same id later gets the reply, and one effect stands."""
    command, once = deposit(opened(own_server, "late"), 5), {"idempotency-key": "late"}
    os.kill(own_server.process.pid, signal.SIGSTOP)
    assert own_server.ask(command, once, timeout_s=0.2).code == "DEADLINE_EXCEEDED"
    os.kill(own_server.process.pid, signal.SIGCONT)
    answer = own_server.ask(command, once)
    assert Deposited.FromString(answer.body).balance_minor == 5
    assert balance(own_server, "late") == 5


def test_one_id_sent_many_times_at_once_counts_once(server: Server) -> None:
    """However many callers race with one id, all get the one reply."""
    command, once = deposit(opened(server, "race"), 5), {"idempotency-key": "race"}
    with ThreadPoolExecutor(16) as callers:
        answers = list(callers.map(lambda _: server.ask(command, once), range(64)))
    assert {(answer.code, answer.body) for answer in answers} == {("OK", answers[0].body)}
    assert balance(server, "race") == 5
