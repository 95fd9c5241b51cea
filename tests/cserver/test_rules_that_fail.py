"""A rule that goes wrong is answered INTERNAL, changes nothing, and the others go on."""

from collections.abc import Iterator

import pytest

from bank.v1.commands_pb2 import Deposit, OpenAccount
from bank.v1.queries_pb2 import AccountView, GetAccount
from bennu.limits import MAX_MESSAGE_CHARS
from bennu.ops.failures import RULE_RAISED
from tests.cserver.conftest import serving
from tests.cserver.faulty_app import FAULTS, UNANSWERABLE
from tests.cserver.served import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A CServer of the faulty app."""
    yield from serving(Server(tmp_path_factory.mktemp("faulty"), app="tests.cserver.faulty_app:app"))


def opened(server: Server, account: str) -> AccountView:
    """An account that is there, as it is shown before anything went wrong."""
    server.ask(OpenAccount(account=account, owner="Ann", currency="EUR"), {"idempotency-key": f"open-{account}"})
    return view(server, account)


def view(server: Server, account: str) -> AccountView:
    """The account as it is now."""
    return AccountView.FromString(server.ask(GetAccount(account=account)).body)


@pytest.mark.parametrize("account", FAULTS)
def test_a_rule_that_goes_wrong_changes_nothing(server: Server, account: str) -> None:
    """Whatever a rule raises or returns that it may not: INTERNAL for it, the same state, and others go on."""
    before = opened(server, account)
    answer = server.ask(Deposit(account=account, amount_minor=1, currency="EUR"))
    assert (answer.code, answer.reason) == ("INTERNAL", "rule_failed")
    assert "bank.v1.Deposit" in answer.status.message
    assert len(answer.status.message) <= MAX_MESSAGE_CHARS
    assert view(server, account) == before
    opened(server, "healthy")
    assert server.ask(Deposit(account="healthy", amount_minor=1, currency="EUR")).code == "OK"


def test_the_log_says_once_what_a_rule_raised(server: Server) -> None:
    """With type, key, exception and traceback, for its author; the next ones are counted."""
    opened(server, "raises")
    for _ in range(3):
        server.ask(Deposit(account="raises", amount_minor=1, currency="EUR"))
    (said,) = (line for line in server.logged(RULE_RAISED) if "a rule divided by zero" in str(line["exception"]))
    assert (said["rule_for"], said["key"]) == ("bank.v1.Deposit", "raises")
    assert "faulty_app.py" in str(said["exception"])


def test_a_rule_that_failed_is_not_tried_again(server: Server) -> None:
    """That it failed is journaled: the same id gets the same answer, byte for byte."""
    opened(server, "raises")
    command = Deposit(account="raises", amount_minor=1, currency="EUR")
    first, again = (server.ask(command, {"idempotency-key": "failed"}) for _ in range(2))
    assert (first.code, first.status) == ("INTERNAL", again.status)


def test_a_long_refusal_is_cut(server: Server) -> None:
    """The text of a rejection is for people: one of megabytes is cut, and its reason stands."""
    answer = server.ask(Deposit(account="refuses-at-length", amount_minor=1, currency="EUR"))
    assert (answer.code, answer.reason) == ("FAILED_PRECONDITION", "too_much_to_say")
    assert answer.status.message == "x" * MAX_MESSAGE_CHARS


@pytest.mark.parametrize("account", UNANSWERABLE)
def test_a_query_that_goes_wrong_is_internal(server: Server, account: str) -> None:
    """A query's rule that raises, or returns no view, is no refusal of the domain."""
    answer = server.ask(GetAccount(account=account))
    assert (answer.code, answer.reason) == ("INTERNAL", "rule_failed")


def test_what_failed_is_read_again_at_a_start(server: Server) -> None:
    """The journal that such rules leave behind is sound: a new process reads it to its end."""
    command, once = Deposit(account="huge", amount_minor=1, currency="EUR"), {"idempotency-key": "huge"}
    opened(server, "huge")
    before = server.ask(command, once)
    assert server.stop() == 0
    server.start()
    assert server.ask(command, once).status == before.status
