"""All of the README's "Calling it", by a client made from `bennu protos export` and grpcio, against `bennu dev`."""

import asyncio
import re
import secrets
import shlex
import signal
import textwrap
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest

import bennu.log
from bennu.log.port import Log
from bennu.replica.history import effective_batches
from bennu.stack.child import Child, Program
from bennu.stack.service import clean_environ
from bennu.stack.unprivileged import postgres_install
from bennu.v1.command_pb2 import Origin
from bennu.v1.journal_pb2 import EventBatch
from bennu.v1.saga_pb2 import SagaStarted
from tests.interop import exported_client
from tests.interop.exported import BIN, ExportedClient, run
from tests.stack.processes import until

pytestmark = pytest.mark.real

SCRIPT = Path(exported_client.__file__)
PARTITIONS = 2
STOP_GRACE_S = 20
TABLES_TIMEOUT_S = 60
SAGA_COMMANDS = ("WithdrawForTransfer", "DepositForTransfer", "ReverseWithdrawal", "CompleteTransfer", "FailTransfer")


class Dev:
    """`bennu dev`, and what it printed."""

    def __init__(self, folder: Path) -> None:
        flags = ["--dir", str(folder / "data"), "--grpc", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
        flags += ["--partitions", str(PARTITIONS)]
        environ = clean_environ()
        program = Program("dev", [str(BIN / "bennu"), "dev", *flags], "Ctrl-C stops everything.", environ=environ)
        self.output = folder / "dev.out"
        self.process = Child(program, self.output)

    def address(self, name: str) -> str:
        """Where it says that this one is."""
        found = re.search(rf"^  {name} +(\S+)$", self.output.read_text(), re.MULTILINE)
        assert found is not None, f"no {name} in what `bennu dev` prints"
        return found[1]

    def example(self, heading: str) -> str:
        """The lines below this heading, as they would be pasted."""
        found = re.search(rf"^{heading}.*:\n\n((?:    .*\n)+)", self.output.read_text(), re.MULTILINE)
        assert found is not None, f"no example for {heading} in what `bennu dev` prints"
        return textwrap.dedent(found[1])


@pytest.fixture(scope="module")
def dev() -> Iterator[Dev]:
    """The whole suite of the bank; Ctrl-C must end it."""
    with TemporaryDirectory(prefix="bennu-dev-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # for root: Postgres runs as another user, who must get through
        found = Dev(folder)
        found.process.start()
        try:
            yield found
        finally:
            found.process.stop(signal.SIGINT, STOP_GRACE_S)
        assert found.output.read_text().endswith("stopped\n")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> ExportedClient:
    """What a client's author has after `bennu protos export`."""
    return ExportedClient(tmp_path_factory.mktemp("client"))


@pytest.mark.parametrize("check", exported_client.CHECKS)
def test_the_readme_holds_for_a_client_with_stubs_alone(dev: Dev, client: ExportedClient, check: str) -> None:
    """What the README says of calling is so for a client that has the exported protos and grpcio only."""
    client.run(SCRIPT, check, dev.address("grpc"))


def test_transfers_end_and_stand_in_the_tables(dev: Dev, client: ExportedClient) -> None:
    """A client's transfers complete or are compensated; journals say who asked, tables show how they ended."""
    run_id = secrets.token_hex(16)
    client.run(SCRIPT, "transfers_end", dev.address("grpc"), run_id)
    asyncio.run(origins_are_carried(dev.address("log"), run_id))
    until(lambda: asyncio.run(transfers_in(dev.address("postgres"))) == ENDED, TABLES_TIMEOUT_S)


ENDED = {"good": ("completed", None), "lost": ("failed", "account_unknown")}
"""What the table `bank.transfers` has to say."""


async def origins_are_carried(log_url: str, run_id: str) -> None:
    """From the client's command to the saga that it started, and with the trace to each command of that saga."""
    async with bennu.log.open(log_url) as log:
        commands = [found for batch in await history(log, "bank-events") for found in commands_in(batch)]
        sagas = [found for batch in await history(log, "bank-saga") for found in started_in(batch)]
    traced = {kind: origin for kind, origin in commands if run_id in origin.traceparent}
    assert traced.keys() == {f"bank.v1.{name}" for name in ("Transfer", *SAGA_COMMANDS)}
    asked = traced["bank.v1.Transfer"]
    assert (asked.actor, asked.correlation_id) == (f"teller-{run_id}", f"correlation-{run_id}")
    assert "anonymous" in {origin.actor for kind, origin in commands if kind == "bank.v1.OpenAccount"}
    assert {saga.saga_id for saga in sagas} == {"TransferSaga:good", "TransferSaga:lost"}
    assert {(saga.correlation_id, saga.traceparent) for saga in sagas} == {(asked.correlation_id, asked.traceparent)}


async def history(log: Log, topics: str) -> list[EventBatch]:
    """The effective batches of all partitions."""
    return [batch for number in range(PARTITIONS) for batch in await effective_batches(log, f"{topics}-{number}")]


def commands_in(batch: EventBatch) -> Iterator[tuple[str, Origin]]:
    """Type and origin of each entry."""
    for i, kind in enumerate(batch.command_type_indexes):
        yield batch.command_types[kind], batch.origins[batch.origin_indexes[i] if batch.origin_indexes else 0]


def started_in(batch: EventBatch) -> Iterator[SagaStarted]:
    """The sagas that began in this batch of a saga's journal."""
    for kind, event in zip(batch.event_type_indexes, batch.events, strict=True):
        if batch.event_types[kind] == SagaStarted.DESCRIPTOR.full_name:
            yield SagaStarted.FromString(event)


async def transfers_in(dsn: str) -> dict[str, tuple[str, str | None]]:
    """Status and reason of each transfer in the table."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        rows = await connection.fetch("SELECT transfer, status, reason FROM bank.transfers")
        return {row["transfer"]: (row["status"], row["reason"]) for row in rows}
    finally:
        await connection.close()


def test_what_bennu_dev_prints_can_be_pasted(dev: Dev, client: ExportedClient) -> None:
    """The Python program gets the reply, the grpcurl line reaches the same rule, the psql line shows the row."""
    printed = client.paste(dev.example("Python"))
    assert printed == 'account: "alice"\nowner: "Alice"\ncurrency: "EUR"\n\n'
    again = client.run(SCRIPT, "calls_as_grpcurl_does", dev.address("grpc"), dev.example("grpcurl"))
    assert again == "FAILED_PRECONDITION account_exists\n"
    program, *arguments = shlex.split(dev.example("psql"))
    psql: list[str | Path] = [postgres_install() / "bin" / program, *arguments, "--csv", "--tuples-only"]
    until(lambda: "alice,Alice,EUR,0,0.00,open,0,0.00," in run(psql), TABLES_TIMEOUT_S)
