"""`bennu sagas`: what operators see of sagas in a running service, and how they mend them."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest

from bank.transfer import TransferSaga
from bank.v1.commands_pb2 import Deposit, OpenAccount, Transfer
from bank.v1.queries_pb2 import GetTransfer, TransferView
from bank.v1.types_pb2 import TRANSFER_STATUS_COMPLETED, TRANSFER_STATUS_FAILED
from bennu.cli import sagas_plan
from bennu.ops.failures import RULE_RAISED
from bennu.stack.service import clean_environ
from bennu.v1.saga_admin_pb2 import FindLeaders, SagaLeader
from bennu.v1.saga_admin_pb2_grpc import SagaAdminStub
from tests.cli.cautious_app import UNLUCKY_MINOR
from tests.cli.shell import Ended, Shell
from tests.cserver.served import ROOT, Server
from tests.service_process import Service
from tests.stack.processes import until

APP = "tests.cli.cautious_app:app"
WHY = ("--reason", "ticket 17", "--actor", "ann")


class Sagas(NamedTuple):
    """CServer, and where one of the Sagas is reached."""

    bank: Server
    admin: str

    def parked(self, bennu: Shell, *names: str) -> list[str]:
        """Ids of the sagas of these transfers, once they are parked."""
        for name in names:
            asked = Transfer(transfer=name, source="ann", target="bob", amount_minor=UNLUCKY_MINOR, currency="EUR")
            assert self.bank.ask(asked).code == "OK"
        wanted = [f"CautiousTransfer:{name}" for name in names]
        until(lambda: set(wanted) <= {each["saga_id"] for each in lines(self(bennu, "list", *PARKED, "--json"))})
        return wanted

    def __call__(self, bennu: Shell, *arguments: object) -> Ended:
        return bennu("sagas", *arguments, "--admin", self.admin)

    def status(self, transfer: str) -> int:
        """What has become of a transfer."""
        return TransferView.FromString(self.bank.ask(GetTransfer(transfer=transfer)).body).status

    def ends(self, transfer: str, status: int) -> None:
        """Wait until a transfer has this status."""
        until(lambda: self.status(transfer) == status)


PARKED = ("--standing", "parked")


@pytest.fixture(scope="module")
def sagas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sagas]:
    """A bank of two partitions, with two processes of Saga, of which each leads one."""
    folder = tmp_path_factory.mktemp("sagas")
    with Server(folder, app=APP) as bank:
        processes = [saga(folder / name, bank.log_url) for name in ("one", "two")]
        try:
            for process in processes:
                asyncio.run(process.start())
            bank.start()
            for name in ("ann", "bob"):
                bank.ask(OpenAccount(account=name, currency="EUR"))
            bank.ask(Deposit(account="ann", amount_minor=100_000, currency="EUR"))
            admins = [process.announced["admin"] for process in processes]
            until(lambda: {leader.address for leader in leaders(admins[0])} == set(admins), 30)
            yield Sagas(bank, admins[0])
            bad = [line for process in processes for line in process.lines() if "Traceback" in line]
            assert [line for line in bad if RULE_RAISED not in line] == []
        finally:
            for process in processes:
                process.kill()


def saga(folder: Path, log_url: str) -> Service:
    """A process of Saga, of the folder's name."""
    folder.mkdir()
    flags = ["--app", APP, "--log", log_url, "--partitions", "2", "--node", folder.name]
    return Service("saga", flags, directory=folder, environ=clean_environ() | {"PYTHONPATH": str(ROOT)})


def leaders(admin: str) -> Sequence[SagaLeader]:
    """By partition; none while nobody serves."""
    with grpc.insecure_channel(admin) as channel:
        try:
            return list(SagaAdminStub(channel).FindLeaders(FindLeaders(), timeout=10).leaders)
        except grpc.RpcError:
            return []


def lines(ended: Ended) -> list[Any]:
    """One object a line."""
    assert ended.code == 0, ended.err
    return [json.loads(line) for line in ended.out.splitlines()]


def test_sagas_are_listed_with_what_they_are_at(bennu: Shell, sagas: Sagas) -> None:
    """By filters, for a person and for a program."""
    one, two = sagas.parked(bennu, "list-1", "list-2")
    found = lines(sagas(bennu, "list", "--prefix", "list-", "--json"))
    assert [(each["saga_id"], each["standing"], each["steps"]) for each in found] == [
        (name, "SAGA_STANDING_PARKED", ["look"]) for name in (one, two)
    ]
    assert len(lines(sagas(bennu, "list", "--prefix", "list-", "--limit", 1, "--json"))) == 1
    headings, first, _ = sagas(bennu, "list", "--prefix", "list-", "--failing-step", "look").out.splitlines()
    assert headings.split()[:2] == ["saga", "standing"]
    assert first.split()[:2] == [one, "parked"]
    assert "ValueError: unlucky" in first
    none = sagas(bennu, "list", "--stuck")
    assert (none.code, none.out, none.err.startswith("no saga is under way")) == (0, "", True)


def test_one_saga_is_shown_and_explained(bennu: Shell, sagas: Sagas) -> None:
    """Step by step, and in a sentence; of one that is not there, and of what is misspelt, it is said what there is."""
    (one,) = sagas.parked(bennu, "show")
    shown = sagas(bennu, "show", one)
    assert [line.split()[:2] for line in shown.out.splitlines()[-4:]] == [
        ["step", "phase"],
        ["withdraw", "done"],
        ["look", "ready"],
        ["deposit", "ready"],
    ]
    (view,) = lines(sagas(bennu, "show", one, "--json"))
    assert json.loads(view["trigger_json"])["transfer"] == "show"
    said = sagas(bennu, "explain", one)
    assert said.out.startswith("CautiousTransfer show is parked since ")
    assert "until an operator retries it, skips step `look`, has it compensated or resolves it." in said.out
    assert (
        "SAGA_UNKNOWN: no saga CautiousTransfer:gone is under way"
        in sagas(bennu, "show", "CautiousTransfer:gone").error
    )
    wrong = sagas(bennu, "list", "--definition", "Transfer")
    assert "no saga is called 'Transfer'; there are CautiousTransfer (field definition)" in wrong.error
    assert sagas(bennu, "list", "--older-than", "soon").code == 2


def test_a_decision_is_tried_and_done(bennu: Shell, sagas: Sagas) -> None:
    """Dry, it changes nothing; done, the saga goes on, and the same decision is not possible any more."""
    (one,) = sagas.parked(bennu, "skip")
    would = sagas(bennu, "skip", one, "--step", "look", *WHY, "--dry-run")
    assert (would.code, would.err) == (0, "nothing was done\n")
    words = "asks bank for step `deposit` by bank.v1.DepositForTransfer"
    assert would.out == f"{one}: would be done: {words}\n"
    done = sagas(bennu, "skip", one, "--step", "look", *WHY)
    assert done.out.startswith(f"{one}: done: {words}, at bank-saga-")
    sagas.ends("skip", TRANSFER_STATUS_COMPLETED)
    again = sagas(bennu, "skip", one, "--step", "look", *WHY)
    assert (again.code, "NOT_POSSIBLE: " in again.error) == (1, True)


def test_a_retry_that_comes_to_nothing_says_so(bennu: Shell, sagas: Sagas) -> None:
    """The bug is still there."""
    (one,) = sagas.parked(bennu, "retry")
    assert "is parked again: rule_failed: ValueError: unlucky" in sagas(bennu, "retry", one, *WHY).out
    assert sagas(bennu, "resolve", one, *WHY).out.startswith(f"{one}: done: ends as resolved")


def test_many_are_decided_about_at_once(bennu: Shell, sagas: Sagas) -> None:
    """Those that the filters let through, over all partitions: tried first, and done if somebody says yes."""
    names = [f"bulk-{number}" for number in range(4)]
    wanted = sagas.parked(bennu, *names)
    which = (*PARKED, "--prefix", "bulk-", "--limit", 10)
    nobody = sagas(bennu, "compensate", *which, *WHY)
    assert (nobody.code, "say --yes" in nobody.err) == (2, True)
    assert {sagas.status(name) for name in names}.isdisjoint({TRANSFER_STATUS_FAILED, TRANSFER_STATUS_COMPLETED})
    done = lines(sagas(bennu, "compensate", *which, *WHY, "--yes", "--json"))
    assert sorted(each["saga_id"] for each in done) == wanted
    assert {each["outcome"] for each in done} == {"SAGA_OUTCOME_DONE"}
    for name in names:
        sagas.ends(name, TRANSFER_STATUS_FAILED)
    none = sagas(bennu, "compensate", *which, *WHY, "--yes")
    assert (none.code, none.err) == (0, "nothing was done\n")


USAGE = {
    "a saga and filters": (("resolve", "x", "--stuck", *WHY), "not both"),
    "neither": (("resolve", "--stuck", *WHY), "--limit"),
    "no reason": (("resolve", "x", "--reason", " "), "--reason"),
    "no step": (("skip", "x", *WHY), "Missing option '--step'"),
}


@pytest.mark.parametrize(("arguments", "said"), USAGE.values(), ids=USAGE)
def test_wrong_usage_is_told_before_anybody_is_asked(bennu: Shell, arguments: tuple[str, ...], said: str) -> None:
    """Exit code 2, and what would be right."""
    ended = bennu("sagas", *arguments)
    assert (ended.code, said in ended.error) == (2, True), ended.error


def test_a_service_that_is_away_is_named_with_where_to_look(bennu: Shell) -> None:
    """The default address is that of `bennu dev`."""
    ended = bennu("sagas", "list", "--admin", "127.0.0.1:1")
    assert (ended.code, "127.0.0.1:1: UNAVAILABLE" in ended.err) == (1, True)
    assert "`bennu members` shows where they are" in ended.err


def test_a_plan_is_a_page(bennu: Shell) -> None:
    """All that a declaration says, word by word; a saga that is none is told with those there are."""
    page = bennu("sagas", "plan", "tests.cli.cautious_app:readable", "Everything")
    assert page.out == Path(__file__).with_name("everything.md").read_text()
    wrong = bennu("sagas", "plan", "bank.app:app", "Transfre")
    assert (wrong.code, "there are: TransferSaga (version 1)" in wrong.error) == (78, True)


def test_a_saga_that_says_nothing_of_itself_has_no_sentence() -> None:
    """A page does not quote what its base says of sagas."""
    silent = type("Silent", (TransferSaga,), {"__doc__": None})
    assert list(sagas_plan.page(silent()))[1].startswith("\nStarted by `bank.v1.TransferRequested`")
