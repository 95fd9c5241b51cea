"""A dry run: what a command would have been answered and would have written, with nothing changed."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest.mock import Mock

import msgspec
import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st

from bank.app import app
from bank.v1.commands_pb2 import Deposit, FreezeAccount, OpenAccount, Withdraw
from bank.v1.events_pb2 import AccountOpened, Deposited
from bank.v1.queries_pb2 import AccountView, GetAccount
from bennu.limits import MAX_REASON_BYTES
from bennu.replica.fold import AggregateFold
from bennu.replica.window import ReplyWindow
from bennu.testing.loop import run
from bennu.v1.command_pb2 import Origin
from bennu.v1.stream_pb2 import CommandFrame, DryRun, ReplyFrame
from bennu_cserver import deciding
from bennu_cserver.observed import Observed
from bennu_cserver.replies import reply_of
from bennu_cserver.stream import Stream
from tests.cserver.cluster import PARTITIONS, Cluster
from tests.cserver.commands import batch_of
from tests.cserver.served import TIMEOUT_S, Answer, Server
from tests.cserver.test_intake import INTAKE, prepared, routes_of_a_stalled_partition

OPEN = OpenAccount(account="a", currency="EUR")
DEPOSIT = Deposit(account="a", amount_minor=5, currency="EUR")
DRY = {"bennu-dry-run": "true"}


def command(kind: int, account: str, amount_minor: int) -> Message:
    """One of the bank's."""
    if kind == 0:
        return OpenAccount(account=account, currency="EUR")
    if kind == 1:
        return FreezeAccount(account=account)
    return (Deposit if kind == 2 else Withdraw)(account=account, amount_minor=amount_minor, currency="EUR")


COMMANDS = st.builds(command, st.integers(0, 3), st.sampled_from("ab"), st.integers(1, 20))


def contents(fold: AggregateFold) -> list[dict[str, bytes]]:
    """All states, as bytes."""
    return [{key: msgspec.msgpack.encode(state) for key, state in states.items()} for states in fold.states]


@given(st.lists(COMMANDS, max_size=20))
def test_a_try_says_what_will_be_and_changes_nothing(commands: Sequence[Message]) -> None:
    """Each command's reply and events are those that it then has, and the states are as before."""
    fold, window = AggregateFold(app), ReplyWindow()
    for number, message in enumerate(commands):
        asked, before = prepared(message, f"command-{number}"), contents(fold)
        reply, found = deciding.try_out(asked, fold, window, recorded_at_us=7)
        assert contents(fold) == before
        decision = deciding.decide(asked, fold, window, recorded_at_us=7)
        assert reply == reply_of(decision.outcome, decision.answer)
        assert (list(found.types), list(found.events)) == (list(decision.types), list(decision.events))


def reason(content: bytes) -> str:
    """Of a refusal."""
    info = ErrorInfo()
    Status.FromString(content).details[0].Unpack(info)
    return str(info.reason)


async def tried(commands: Sequence[Message], ids: Sequence[str]) -> tuple[ReplyFrame, list[str]]:
    """A frame as a dry run, after account `a` was opened as `open`; with the ids of the open batch after it."""
    routes, partition = routes_of_a_stalled_partition()
    partition.replica.state.window.count, partition.replica.state.window.age_us = 10, 10**9
    partition.replica.lead()
    await partition.replica.log.create(partition.replica.topic)
    leading = asyncio.create_task(partition.lead())
    await routes.submit(0, [prepared(OPEN, "open")], 10)
    frame = CommandFrame(commands=batch_of(commands, ids), dry_run=True)
    answer = await Stream(routes, INTAKE, Mock(spec=Observed)).answer(frame, Origin())
    left = [*partition.replica.open.command_ids, *(each for each in ids if partition.replica.state.window.get(each))]
    leading.cancel()
    await asyncio.wait((leading,))
    return answer, left


def test_commands_of_a_frame_are_tried_each_by_itself() -> None:
    """What one would write another one does not see, refused ones say why, and no id is taken."""
    too_much = Withdraw(account="a", amount_minor=5, currency="EUR")
    answer, left = run(tried([DEPOSIT, too_much, Deposit()], ["d", "w", "x"]))
    assert list(answer.codes) == [0, 9, 3]
    assert [list(each.types) for each in answer.dry_runs] == [["bank.v1.Deposited"], [], []]
    assert Deposited.FromString(answer.dry_runs[0].events[0]).balance_minor == 5
    assert reason(answer.replies[1]) == "insufficient_funds"
    assert list(answer.positions) == ["bank-events-0:1"]
    assert left == []


def test_an_id_that_is_known_is_answered_as_it_was() -> None:
    """The original reply, without events; with another payload ALREADY_EXISTS."""
    answer, _ = run(tried([OPEN, DEPOSIT], ["open", "open"]))
    assert list(answer.codes) == [0, 6]
    assert AccountOpened.FromString(answer.replies[0]).account == "a"
    assert [list(each.events) for each in answer.dry_runs] == [[], []]


def tried_events(answer: Answer) -> DryRun:
    """What came with it."""
    raw = answer.trailing["bennu-dry-run-events-bin"]
    assert isinstance(raw, bytes)
    return DryRun.FromString(raw)


def test_a_call_is_tried_by_its_own_stub(server: Server) -> None:
    """The reply is the method's own, the events come beside it, and afterwards all is as before."""
    server.ask(OpenAccount(account="dry", currency="EUR"))
    command = Deposit(account="dry", amount_minor=7, currency="EUR")
    answer = server.ask(command, {**DRY, "idempotency-key": "dry"})
    assert Deposited.FromString(answer.body).balance_minor == 7
    found = tried_events(answer)
    assert (list(found.types), found.events[0]) == (["bank.v1.Deposited"], answer.body)
    assert answer.trailing["bennu-dry-run"] == "true"
    assert AccountView.FromString(server.ask(GetAccount(account="dry")).body).balance_minor == 0
    assert all("dry" not in batch.command_ids for number in range(2) for batch in server.batches(number))
    assert server.ask(command, {"idempotency-key": "dry"}).body == answer.body


def test_a_call_that_would_be_refused_says_so(server: Server) -> None:
    """With the rule's name, as the command would."""
    answer = server.ask(Withdraw(account="nobody", amount_minor=7, currency="EUR"), DRY)
    assert (answer.code, answer.reason) == ("FAILED_PRECONDITION", "account_unknown")


def test_a_dry_run_is_asked_for_in_so_many_words(server: Server) -> None:
    """What is neither `true` nor `false` may not be taken for either."""
    answer = server.ask(DEPOSIT, {"bennu-dry-run": "yes"})
    assert (answer.code, answer.fields) == ("INVALID_ARGUMENT", ["bennu-dry-run"])


def test_a_reason_is_journaled(server: Server) -> None:
    """In any language; who reads the journal later finds it with the actor."""
    server.ask(OpenAccount(account="why", currency="EUR"))
    for command_id, metadata in (("ascii", {"bennu-reason": "ticket 17"}), ("any", {})):
        server.ask(Deposit(account="why", amount_minor=1, currency="EUR"), {"idempotency-key": command_id, **metadata})
    method = server.bank.Deposit
    method(
        Deposit(account="why", amount_minor=1, currency="EUR"),
        metadata=(("idempotency-key", "bin"), ("bennu-reason-bin", "Überweisung doppelt".encode())),
        timeout=TIMEOUT_S,
    )
    found = {
        command_id: batch.origins[batch.origin_indexes[i] if batch.origin_indexes else 0].reason
        for number in range(2)
        for batch in server.batches(number)
        for i, command_id in enumerate(batch.command_ids)
        if command_id in ("ascii", "any", "bin")
    }
    assert found == {"ascii": "ticket 17", "any": "", "bin": "Überweisung doppelt"}


def test_a_reason_is_bounded(server: Server) -> None:
    """It is journaled, so it has a bound, and the refusal names it."""
    answer = server.ask(DEPOSIT, {"bennu-reason": "x" * (MAX_REASON_BYTES + 1)})
    assert (answer.code, answer.fields) == ("INVALID_ARGUMENT", ["bennu-reason"])


@pytest.mark.parametrize("account", [f"far-{number}" for number in range(PARTITIONS)])
def test_any_process_tries_at_the_leader(cluster: Cluster, account: str) -> None:
    """Whoever is asked, the state that answers is the leader's, with what was acknowledged a moment ago."""
    first, second = cluster.nodes
    first.ask(OpenAccount(account=account, currency="EUR"))
    first.ask(Deposit(account=account, amount_minor=3, currency="EUR"))
    for node in (first, second):
        answer = node.ask(Deposit(account=account, amount_minor=4, currency="EUR"), DRY)
        assert Deposited.FromString(answer.body).balance_minor == 7
        assert list(tried_events(answer).events) == [answer.body]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes."""
    folder: Path = tmp_path_factory.mktemp("cluster")
    with Cluster(folder, 2) as found:
        yield found
