"""What is printed to be pasted means what it should, whatever stands in it."""

import json
import shlex
from pathlib import Path

import pytest
from google.protobuf import json_format
from typer.testing import CliRunner

from bank.account import AccountRules
from bank.app import app as bank
from bank.screening import ScreeningRules
from bank.transfer import TransferRules
from bank.v1.commands_pb2 import OpenAccount
from bennu.cli.paste import grpcurl_example, psql_example
from bennu.cli.protos import app as protos
from bennu.domain import App

AWKWARD = ("O'Hara", 'say "hi" $HOME `id`', "Çelik \\ Söhne", "two\nlines")


@pytest.mark.parametrize("owner", AWKWARD)
def test_grpcurl_gets_the_example_as_it_is(owner: str) -> None:
    """A shell hands grpcurl the JSON of exactly the app's example."""
    example = OpenAccount(account="a", owner=owner, currency="EUR")
    app = App("bank", service=bank.service, aggregates=(AccountRules, TransferRules, ScreeningRules), example=example)
    program, plaintext, flag, content, address, method = shlex.split(grpcurl_example(app, "127.0.0.1:1"))
    assert (program, plaintext, flag) == ("grpcurl", "-plaintext", "-d")
    assert json_format.Parse(content, OpenAccount()) == example
    assert (address, method) == ("127.0.0.1:1", "bank.v1.Bank/OpenAccount")


def test_psql_gets_the_address_as_it_is() -> None:
    """A shell hands psql the address, also one with an apostrophe and an ampersand."""
    dsn = "postgresql://u:it's@127.0.0.1:1/postgres?a=1&b=2"
    assert shlex.split(psql_example(bank, dsn)) == ["psql", dsn, "-c", "TABLE bank.accounts"]


def test_export_tells_its_files_in_json(tmp_path: Path) -> None:
    """With --json the folder and the files in it are told, and they are all that is there."""
    folder = tmp_path / "a folder"
    ran = CliRunner().invoke(protos, ["export", str(folder), "--json"])
    told = json.loads(ran.stdout)
    assert told["directory"] == str(folder)
    assert told["files"] == sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.proto"))
