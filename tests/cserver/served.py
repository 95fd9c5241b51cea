"""A real CServer process on the embedded log, and what its callers see of it."""

import asyncio
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import NamedTuple, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

import bennu.log
from bank.v1 import bank_pb2_grpc
from bennu.ops.failures import RULE_RAISED
from bennu.replica.journal import decode
from bennu.stack.service import clean_environ
from bennu.v1 import stream_pb2_grpc
from bennu.v1.journal_pb2 import EpochStart, EventBatch
from tests.log.helpers import bodies
from tests.service_process import Service

TIMEOUT_S = 60
ROOT = Path(__file__).resolve().parents[2]

D = TypeVar("D", bound=Message)
Metadata = Mapping[str, str]


class Answer(NamedTuple):
    """What one call ended with."""

    code: str
    body: bytes
    trailing: dict[str, str | bytes]
    status: Status

    def detail(self, kind: type[D]) -> D:
        """The error's detail of this kind; an empty one if it has none."""
        found = kind()
        for packed in self.status.details:
            if packed.Is(found.DESCRIPTOR):
                packed.Unpack(found)
        return found

    @property
    def reason(self) -> str:
        """`google.rpc.ErrorInfo.reason`."""
        return str(self.detail(ErrorInfo).reason)

    @property
    def fields(self) -> list[str]:
        """The fields that `google.rpc.BadRequest` complains about."""
        return [violation.field for violation in self.detail(BadRequest).field_violations]

    @property
    def retry_ms(self) -> float:
        """After how long `google.rpc.RetryInfo` says to come again; 0 if it says nothing."""
        return float(self.detail(RetryInfo).retry_delay.ToMilliseconds())


def answered(body: bytes, call: grpc.Call) -> Answer:
    """A finished call."""
    trailing = dict(call.trailing_metadata() or ())
    return Answer(call.code().name, body, trailing, rpc_status.from_call(call) or Status())


def failed(error: grpc.RpcError) -> Answer:
    """A call that ended with an error."""
    return answered(b"", error)  # type: ignore[arg-type]  # what grpc raises is a call as well


class Server:
    """One CServer over a log of its own; as a context manager it leaves no process behind."""

    def __init__(
        self, directory: Path, *, app: str = "bank.app:app", partitions: int = 2, log_url: str = "", node: str = ""
    ) -> None:
        self.node = node
        self.log_url = log_url or f"sqlite:{directory / 'log'}"
        self.partitions = partitions
        flags = ["--app", app, "--log", self.log_url, "--partitions", str(partitions), "--grpc", "127.0.0.1:0"]
        flags += ["--node", node] if node else []
        environ = clean_environ()
        environ["PYTHONPATH"] = str(ROOT)  # for apps that stand in the tests
        self.process = Service("cserver", flags, directory=directory, environ=environ)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_error: object) -> None:
        """Leave no process behind, whatever the test found."""
        self.process.kill()

    def start(self) -> None:
        """Run it until it leads all its partitions."""
        self.launch()
        self.wait_for_health(health_pb2.HealthCheckResponse.SERVING)

    def launch(self) -> None:
        """Run it until its ports are there."""
        asyncio.run(self.process.start())
        self.channel = grpc.insecure_channel(self.process.announced["grpc"])
        self.bank = bank_pb2_grpc.BankStub(self.channel)
        self.stream = stream_pb2_grpc.CommandStreamStub(self.channel)

    def wait_for_health(self, wanted: int) -> None:
        """Follow the health service until it says so."""
        health = health_pb2_grpc.HealthStub(self.channel)
        states = health.Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)  # type: ignore[attr-defined]  # the published types leave it out
        assert any(state.status == wanted for state in states)
        states.cancel()

    def kill(self) -> None:
        """kill -9."""
        self.channel.close()
        self.process.kill()

    def stop(self) -> int:
        """Ask it to stop; its exit code."""
        self.channel.close()
        return self.process.stop()

    def ended(self) -> int:
        """Wait for it to end by itself; the exit code."""
        code = self.process.wait()
        self.channel.close()
        return code

    def errors(self) -> list[str]:
        """Lines of its log that no client should be able to cause; what an app's rule raised is the app's affair."""
        bad = (line for line in self.process.lines() if '"level": "error"' in line or "Traceback" in line)
        return [line for line in bad if RULE_RAISED not in line]

    # --- calls

    def ask(self, request: Message, metadata: Metadata | None = None, *, timeout_s: float = TIMEOUT_S) -> Answer:
        """Call the method that takes this message, by the generated stub."""
        method = getattr(self.bank, request.DESCRIPTOR.name)
        try:
            reply, call = method.with_call(request, metadata=tuple((metadata or {}).items()), timeout=timeout_s)
        except grpc.RpcError as error:
            return failed(error)
        return answered(reply.SerializeToString(), call)

    def send(self, method: str, body: bytes, metadata: tuple[tuple[str, str], ...] = ()) -> Answer:
        """Call a method of the bank with bytes that no stub would send."""
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(f"/bank.v1.Bank/{method}")
        try:
            return answered(*call.with_call(body, metadata=metadata, timeout=TIMEOUT_S))
        except grpc.RpcError as error:
            return failed(error)

    def ops(self, path: str) -> tuple[int, str]:
        """Status and body of a page of the operations port."""
        url = f"http://{self.process.announced['ops']}{path}"
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, name: str) -> float:
        """The value of one line of `/metrics`, named with its labels."""
        values = dict(line.rsplit(" ", 1) for line in self.ops("/metrics")[1].splitlines() if not line.startswith("#"))
        return float(values[name])

    def logged(self, event: str) -> list[dict[str, object]]:
        """Its log lines about this event."""
        lines = [json.loads(line) for line in self.process.lines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def first_line_with(self, text: str) -> str:
        """Follow its log to the first line with this text."""
        follow = ["tail", "-n", "+1", "-f", str(self.process.stderr)]
        with subprocess.Popen(follow, stdout=subprocess.PIPE, text=True) as tail:
            assert tail.stdout is not None
            found = next(line for line in tail.stdout if text in line)
            tail.kill()
        return found

    # --- the log

    def batches(self, partition: int = 0) -> list[EventBatch]:
        """The batches of a partition's journal."""
        return [record for record in asyncio.run(self._records(partition)) if isinstance(record, EventBatch)]

    async def _records(self, partition: int) -> list[EpochStart | EventBatch]:
        async with bennu.log.open(self.log_url) as log:
            found = await bodies(log, f"bank-events-{partition}")
        return [decode(body, where="test") for body in found]

    def append(self, body: bytes, partition: int = 0) -> None:
        """Append to a command log, whatever becomes of it."""
        asyncio.run(self._append(body, partition))

    async def _append(self, body: bytes, partition: int) -> None:
        async with bennu.log.open(self.log_url) as log:
            await log.append(f"bank-commands-{partition}", body, timeout_ms=TIMEOUT_S * 1000)

    def write(self, body: bytes, partition: int = 0) -> EventBatch:
        """Append to a command log; the batch of the journal that took the record."""
        return asyncio.run(self._write(body, partition))

    async def _write(self, body: bytes, partition: int) -> EventBatch:
        commands, events = f"bank-commands-{partition}", f"bank-events-{partition}"
        async with asyncio.timeout(TIMEOUT_S), bennu.log.open(self.log_url) as log:
            offset = await log.append(commands, body, timeout_ms=TIMEOUT_S * 1000)
            async with aclosing(log.read(events, 0)) as chunks:
                async for chunk in chunks:
                    for record in chunk:
                        found = decode(record.body, where=events)
                        if isinstance(found, EventBatch) and any(p.offset > offset for p in found.inputs):
                            return found
        raise AssertionError("a log's reader ended")
