"""A client that has nothing but grpcio and what was generated from `bennu protos export`; see test_exported_client.py.

    python … exported_client.py CHECK HOST:PORT [ARGUMENT]

Each check holds one sentence of the README's section "Calling it" against a running bank.
"""

import importlib.util
import re
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, TypeVar

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

from bank.v1 import bank_pb2_grpc
from bank.v1.commands_pb2 import Deposit, OpenAccount, Transfer, Withdraw
from bank.v1.events_pb2 import AccountOpened, Deposited
from bank.v1.queries_pb2 import GetAccount, GetTransfer, TransferView
from bank.v1.types_pb2 import TRANSFER_STATUS_COMPLETED, TRANSFER_STATUS_FAILED, TRANSFER_STATUS_REQUESTED
from bennu.v1 import command_pb2, stream_pb2, stream_pb2_grpc

TIMEOUT_S = 30
POLL_S = 0.05
POSITION = re.compile(r"bank-events-\d+:\d+")
NOT_EXPORTED = ("bank.app", "bennu.domain", "bennu_cserver", "bennu_saga", "protovalidate", "rocketmq")

D = TypeVar("D", bound=Message)


class Answer(NamedTuple):
    """What one call ended with: the reply's bytes as they came, or a rich error."""

    code: str
    body: bytes
    trailing: dict[str, str | bytes]
    status: Status

    @property
    def reason(self) -> str:
        """`google.rpc.ErrorInfo.reason`."""
        return str(self.detail(ErrorInfo).reason)

    @property
    def position(self) -> str:
        """`bennu-position`, which must look like one."""
        found = str(self.trailing["bennu-position"])
        assert POSITION.fullmatch(found), found
        return found

    def detail(self, kind: type[D]) -> D:
        """The error's detail of this kind; it must have one."""
        return unpacked(self.status, kind)


def answered(body: bytes, call: grpc.Call) -> Answer:
    """A finished call."""
    return Answer(call.code().name, body, dict(call.trailing_metadata() or ()), rpc_status.from_call(call) or Status())


def unpacked(status: Status, kind: type[D]) -> D:
    """The one detail of this kind."""
    (packed,) = (detail for detail in status.details if detail.Is(kind.DESCRIPTOR))
    found = kind()
    packed.Unpack(found)
    return found


class Client:
    """Calls of the bank by the name of their message; replies stay bytes, so that they may be compared."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self.bank = bank_pb2_grpc.BankStub(channel)
        self.stream = stream_pb2_grpc.CommandStreamStub(channel)

    def ask(self, request: Message, metadata: Mapping[str, str] | None = None) -> Answer:
        """One call."""
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes]
        call = self.channel.unary_unary(f"/bank.v1.Bank/{request.DESCRIPTOR.name}")
        pairs = tuple((metadata or {}).items())
        try:
            body, ended = call.with_call(request.SerializeToString(), metadata=pairs, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            return answered(b"", error)  # type: ignore[arg-type]  # what grpc raises is a call as well
        return answered(body, ended)

    def open(self, account: str, amount_minor: int = 0) -> Answer:
        """An account in EUR with money on it; the last answer."""
        answer = self.ask(OpenAccount(account=account, currency="EUR"))
        if amount_minor:
            answer = self.ask(deposit(account, amount_minor))
        assert answer.code == "OK", answer
        return answer

    def balance(self, account: str) -> int:
        """In minor units."""
        return self.bank.GetAccount(GetAccount(account=account), timeout=TIMEOUT_S).balance_minor

    def end_of(self, transfer: str) -> TransferView:
        """The transfer once it has ended."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            view = self.bank.GetTransfer(GetTransfer(transfer=transfer), timeout=TIMEOUT_S)
            if view.status != TRANSFER_STATUS_REQUESTED:
                return view
            assert time.monotonic() < deadline, view
            threading.Event().wait(POLL_S)  # other processes are at work; there is nothing to wait for here


def deposit(account: str, amount_minor: int) -> Deposit:
    return Deposit(account=account, amount_minor=amount_minor, currency="EUR")


def withdraw(account: str, amount_minor: int) -> Withdraw:
    return Withdraw(account=account, amount_minor=amount_minor, currency="EUR")


def number_in(position: str) -> int:
    """The number at the end of a position."""
    return int(position.rpartition(":")[2])


# --- the checks


def sees_only_what_was_exported(_client: Client) -> None:
    """`bennu` and `bank` are the generated folders, and nothing of the installation can be imported."""
    for name in ("bennu", "bank"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert list(spec.submodule_search_locations or ()) == [f"{sys.path[-2]}/{name}"]
        assert spec.origin is None, "generated folders have no code of their own"
    for name in NOT_EXPORTED:
        try:
            assert importlib.util.find_spec(name) is None, name
        except ModuleNotFoundError:
            continue  # not even its parent is there


def the_same_id_is_one_effect(client: Client) -> None:
    """The same id and payload get the same bytes and one effect; another payload or method is ALREADY_EXISTS."""
    client.open("once")
    key = {"idempotency-key": "once-deposit"}
    first, again = client.ask(deposit("once", 500), key), client.ask(deposit("once", 500), key)
    assert (first.code, again.code) == ("OK", "OK")
    assert first.body == again.body
    assert Deposited.FromString(first.body) == Deposited(
        account="once", amount_minor=500, currency="EUR", balance_minor=500
    )
    for other in (deposit("once", 501), withdraw("once", 500)):
        refused = client.ask(other, key)
        assert (refused.code, refused.reason) == ("ALREADY_EXISTS", "COMMAND_ID_REUSED")
    assert client.balance("once") == 500


def without_an_id_one_is_made(client: Client) -> None:
    """Without `idempotency-key` the server makes an id, a new one each time, and returns it under the same name."""
    client.open("nameless")
    first, second = client.ask(deposit("nameless", 1)), client.ask(deposit("nameless", 1))
    ids = [str(answer.trailing["idempotency-key"]) for answer in (first, second)]
    assert ids[0] != ids[1]
    again = client.ask(deposit("nameless", 1), {"idempotency-key": ids[0]})
    assert (again.code, again.body) == ("OK", first.body)
    assert client.balance("nameless") == 2


def positions_order_reads_after_writes(client: Client) -> None:
    """Answers carry `bennu-position`; `bennu-min-position` takes it, and a later one is UNAVAILABLE, to be retried."""
    wrote = client.open("reader", 100)
    query = GetAccount(account="reader")
    read = client.ask(query, {"bennu-min-position": wrote.position})
    assert read.code == "OK"
    assert number_in(read.position) >= number_in(wrote.position)
    topic = wrote.position.rpartition(":")[0]
    early = client.ask(query, {"bennu-min-position": f"{topic}:{number_in(read.position) + 1_000_000}"})
    assert (early.code, early.reason) == ("UNAVAILABLE", "BEHIND")
    assert early.detail(RetryInfo).retry_delay.ToMilliseconds() > 0
    assert client.ask(query, {"bennu-min-position": "nowhere:1"}).code == "INVALID_ARGUMENT"


def a_linearizable_query_waits_for_a_batch(client: Client) -> None:
    """`bennu-consistency: linearizable` is answered behind a batch that was sent after the query came."""
    client.open("line", 7)
    query = GetAccount(account="line")
    before = client.ask(query)
    after = client.ask(query, {"bennu-consistency": "linearizable"})
    assert (after.code, after.body) == ("OK", before.body)
    assert number_in(after.position) > number_in(before.position)
    assert client.ask(query, {"bennu-consistency": "maybe"}).code == "INVALID_ARGUMENT"


def refusals_are_named(client: Client) -> None:
    """A broken rule is FAILED_PRECONDITION with its name; a malformed command is INVALID_ARGUMENT with its field."""
    client.open("poor")
    key = {"idempotency-key": "poor-withdraw"}
    refused, again = client.ask(withdraw("poor", 1), key), client.ask(withdraw("poor", 1), key)
    assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "insufficient_funds")
    assert refused.status == again.status
    malformed = client.ask(deposit("poor", -1))
    assert malformed.code == "INVALID_ARGUMENT"
    assert [violation.field for violation in malformed.detail(BadRequest).field_violations] == ["amount_minor"]
    misspelt = client.ask(deposit("poor", 1), {"bennu-aktor": "me"})
    assert misspelt.code == "INVALID_ARGUMENT"
    assert [violation.field for violation in misspelt.detail(BadRequest).field_violations] == ["bennu-aktor"]


def frames_carry_many_commands(client: Client) -> None:
    """A frame's commands are answered each in its place, in order for an account, and once if the frame is repeated."""
    first, again = (next(answers(client, frame(7))) for _ in range(2))
    assert first.frame_id == 7
    assert list(first.codes) == [grpc_number(name) for name in ("OK", "OK", "FAILED_PRECONDITION", "INVALID_ARGUMENT")]
    assert AccountOpened.FromString(first.replies[0]).account == "framed"
    assert Deposited.FromString(first.replies[1]).balance_minor == 10
    reasons = [unpacked(Status.FromString(reply), ErrorInfo).reason for reply in first.replies[2:]]
    assert reasons == ["insufficient_funds", "INVALID_ARGUMENT"]
    assert list(first.command_ids) == [f"frame-{n}" for n in range(4)]
    assert all(POSITION.fullmatch(position) for position in first.positions)
    assert len(first.positions) == 1
    assert again.replies == first.replies
    assert client.balance("framed") == 10


def frame(frame_id: int) -> stream_pb2.CommandFrame:
    """Four commands for one account: two that are carried out, one that is refused, and one that is malformed."""
    commands = (
        OpenAccount(account="framed", currency="EUR"),
        deposit("framed", 10),
        withdraw("framed", 11),
        deposit("framed", -1),
    )
    types = sorted({command.DESCRIPTOR.full_name for command in commands})
    batch = command_pb2.CommandBatch(
        format_version=1,
        types=types,
        command_ids=[f"frame-{n}" for n in range(len(commands))],
        type_indexes=[types.index(command.DESCRIPTOR.full_name) for command in commands],
        payloads=[command.SerializeToString() for command in commands],
        origins=[command_pb2.Origin(actor="batcher")],
    )
    return stream_pb2.CommandFrame(frame_id=frame_id, commands=batch)


def answers(client: Client, *frames: stream_pb2.CommandFrame) -> Iterator[stream_pb2.ReplyFrame]:
    """What the stream answers to these frames, until it ends."""
    return iter(client.stream.Execute(iter(frames), timeout=TIMEOUT_S))


def grpc_number(name: str) -> int:
    """The number of a gRPC status code."""
    number: int = grpc.StatusCode[name].value[0]
    return number


def transfers_end(client: Client, run_id: str) -> None:
    """A transfer ends completed, or its source is paid back and the reason named; who asked goes with it."""
    client.open("source", 1_000)
    client.open("target")
    metadata = {
        "bennu-actor": f"teller-{run_id}",
        "bennu-correlation-id": f"correlation-{run_id}",
        "traceparent": f"00-{run_id}-00f067aa0ba902b7-01",
    }
    for name, target in (("good", "target"), ("lost", "nobody")):
        wanted = Transfer(transfer=name, source="source", target=target, amount_minor=300, currency="EUR")
        assert client.ask(wanted, metadata).code == "OK"
    good, lost = client.end_of("good"), client.end_of("lost")
    assert (good.status, good.reason) == (TRANSFER_STATUS_COMPLETED, "")
    assert (lost.status, lost.reason) == (TRANSFER_STATUS_FAILED, "account_unknown")
    assert (client.balance("source"), client.balance("target")) == (700, 300)


def health_is_told(client: Client) -> None:
    """The health service says that it serves, to who watches and to who asks."""
    health = health_pb2_grpc.HealthStub(client.channel)
    serving, request = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckRequest()
    states = health.Watch(request, timeout=TIMEOUT_S)  # type: ignore[attr-defined]  # the published types leave it out
    assert any(state.status == serving for state in states)
    states.cancel()
    assert health.Check(request, timeout=TIMEOUT_S).status == serving  # type: ignore[attr-defined]  # as above


def reflection_lists_the_services(client: Client) -> None:
    """Reflection names the domain's service, the stream and the health service."""
    names = set(ProtoReflectionDescriptorDatabase(client.channel).get_services())
    assert names >= {"bank.v1.Bank", "bennu.v1.CommandStream", "grpc.health.v1.Health"}


def calls_as_grpcurl_does(client: Client, line: str) -> None:
    """A line for grpcurl is carried out with what reflection tells and nothing else; prints the code and the reason."""
    program, plaintext, flag, content, address, method = shlex.split(line)
    assert (program, plaintext, flag, address) == ("grpcurl", "-plaintext", "-d", sys.argv[2])
    pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(client.channel))
    service, _, name = method.partition("/")
    kind = pool.FindServiceByName(service).FindMethodByName(name).input_type
    answer = client.ask(json_format.Parse(content, message_factory.GetMessageClass(kind)()))
    print(answer.code, answer.reason if answer.code != "OK" else "")


CHECKS: dict[str, Callable[..., None]] = {
    check.__name__: check
    for check in (
        sees_only_what_was_exported,
        the_same_id_is_one_effect,
        without_an_id_one_is_made,
        positions_order_reads_after_writes,
        a_linearizable_query_waits_for_a_batch,
        refusals_are_named,
        frames_carry_many_commands,
        health_is_told,
        reflection_lists_the_services,
    )
}
"""The checks that want nothing but the bank's address."""
WITH_ARGUMENT: dict[str, Callable[..., None]] = {
    check.__name__: check for check in (transfers_end, calls_as_grpcurl_does)
}

if __name__ == "__main__":
    with grpc.insecure_channel(sys.argv[2]) as channel:
        (CHECKS | WITH_ARGUMENT)[sys.argv[1]](Client(channel), *sys.argv[3:])
