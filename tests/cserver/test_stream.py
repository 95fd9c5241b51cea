"""The batched stream: many frames at work, each command answered in its place."""

from collections.abc import Iterable, Iterator, Sequence

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from bank.v1.commands_pb2 import Deposit, OpenAccount, WithdrawForTransfer
from bank.v1.events_pb2 import Deposited
from bennu.limits import MAX_COMMAND_BYTES, MAX_FRAME_BYTES, MAX_FRAME_COMMANDS
from bennu.v1.command_pb2 import CommandBatch, Origin
from bennu.v1.stream_pb2 import CommandFrame, ReplyFrame
from tests.cserver.commands import batch_of
from tests.cserver.served import TIMEOUT_S, Answer, Server, failed

OPEN = OpenAccount(account="a", currency="EUR")
DEPOSIT = Deposit(account="a", amount_minor=1, currency="EUR")
METHOD = "/bennu.v1.CommandStream/Execute"


def frame(frame_id: int, commands: Sequence[Message], ids: Sequence[str] = ()) -> CommandFrame:
    """Commands as a client sends them."""
    return CommandFrame(frame_id=frame_id, commands=batch_of(commands, ids))


def answers(server: Server, frames: Iterable[CommandFrame]) -> dict[int, ReplyFrame]:
    """Every frame's answer by its id; the stream must end well."""
    return {answer.frame_id: answer for answer in server.stream.Execute(iter(frames), timeout=TIMEOUT_S)}


def ended(server: Server, bodies: Iterator[bytes], metadata: dict[str, str] | None = None) -> tuple[list[int], Answer]:
    """Ids of the frames that were answered, and the error that ended the stream."""
    execute: grpc.StreamStreamMultiCallable[bytes, bytes] = server.channel.stream_stream(METHOD)
    answered: list[bytes] = []
    with pytest.raises(grpc.RpcError) as caught:
        answered.extend(execute(bodies, timeout=TIMEOUT_S, metadata=tuple((metadata or {}).items())))
    return [ReplyFrame.FromString(body).frame_id for body in answered], failed(caught.value)


def reasons(answer: ReplyFrame) -> list[str]:
    """The reason of each refusal, in order."""
    found = []
    for code, content in zip(answer.codes, answer.replies, strict=True):
        if code:
            info = ErrorInfo()
            Status.FromString(content).details[0].Unpack(info)
            found.append(info.reason)
    return found


def test_every_frame_is_answered(server: Server) -> None:
    """Hundreds of frames on one stream, each with all its replies, the ids that were used and its positions."""
    server.ask(OPEN)
    found = answers(server, (frame(n, [DEPOSIT] * 10, [f"every-{n}-{i}" for i in range(10)]) for n in range(1, 201)))
    assert set(found) == set(range(1, 201))
    assert all(list(answer.codes) == [0] * 10 for answer in found.values())
    assert list(found[7].command_ids) == [f"every-7-{i}" for i in range(10)]
    assert all(position.startswith("bank-events-1:") for answer in found.values() for position in answer.positions)
    balances = sorted(Deposited.FromString(reply).balance_minor for a in found.values() for reply in a.replies)
    assert balances == list(range(balances[0], balances[0] + 2_000))


def test_commands_of_one_frame_are_decided_in_order(server: Server) -> None:
    """What a frame asks of one account happens in the frame's order."""
    commands = [OpenAccount(account="order", currency="EUR")]
    more = [Deposit(account="order", amount_minor=n, currency="EUR") for n in range(1, 51)]
    answer = answers(server, [frame(1, [*commands, *more])])[1]
    balances = [Deposited.FromString(reply).balance_minor for reply in answer.replies[1:]]
    assert balances == [n * (n + 1) // 2 for n in range(1, 51)]


def test_refused_commands_are_answered_in_their_place(server: Server) -> None:
    """One bad command does not spoil its frame: each stands where it was sent, with its own code."""
    server.ask(OPEN)
    commands = [
        DEPOSIT,
        Deposit(account="a", amount_minor=0, currency="EUR"),
        Deposit(account="nobody", amount_minor=1, currency="EUR"),
        WithdrawForTransfer(account="a", transfer="t", amount_minor=1, currency="EUR"),
        Deposit(account="x" * (MAX_COMMAND_BYTES + 1), amount_minor=1, currency="EUR"),
        DEPOSIT,
    ]
    answer = answers(server, [frame(1, commands)])[1]
    assert list(answer.codes) == [0, 3, 9, 3, 8, 0]
    assert reasons(answer) == ["INVALID_ARGUMENT", "account_unknown", "INVALID_ARGUMENT", "COMMAND_TOO_LARGE"]


def test_an_id_counts_once_within_a_frame_too(server: Server) -> None:
    """Twice in one frame is twice the same command; with another payload it is refused; an empty id is made."""
    server.ask(OPEN)
    other = Deposit(account="a", amount_minor=2, currency="EUR")
    answer = answers(server, [frame(1, [DEPOSIT, DEPOSIT, other, DEPOSIT], ["twice", "twice", "twice", ""])])[1]
    assert list(answer.codes) == [0, 0, 6, 0]
    assert answer.replies[0] == answer.replies[1] != answer.replies[3]
    assert len(answer.command_ids[3]) == 36


def test_a_frame_over_two_partitions_has_two_positions(server: Server) -> None:
    """Each partition that took part says where its answers stand."""
    commands = [OpenAccount(account=name, currency="EUR") for name in ("left", "right", "a", "d")]
    topics = {position.partition(":")[0] for position in answers(server, [frame(1, commands)])[1].positions}
    assert topics == {"bank-events-0", "bank-events-1"}


def test_a_frame_may_name_who_asks(server: Server) -> None:
    """A batch's own origins, else the call's metadata, stand in the journal."""
    named = frame(1, [DEPOSIT], ["named"])
    named.commands.origins.append(Origin(actor="ann", correlation_id="order-17"))
    answers(server, [named])
    batch = next(batch for batch in server.batches(1) if "named" in batch.command_ids)
    assert [(origin.actor, origin.correlation_id) for origin in batch.origins] == [("ann", "order-17")]


def spoilt(**columns: object) -> bytes:
    """A frame whose columns do not fit together."""
    good = frame(9, [DEPOSIT]).commands
    for name in columns:
        good.ClearField(name)  # type: ignore[arg-type]  # a test names the right ones
    good.MergeFrom(CommandBatch(**columns))  # type: ignore[arg-type]  # as above
    return CommandFrame(frame_id=9, commands=good).SerializeToString()


BAD_FRAMES = {
    "noise": b"\xff" * 20,
    "empty": b"",
    "no commands": CommandFrame(frame_id=9).SerializeToString(),
    "format": spoilt(format_version=2),
    "type index": spoilt(type_indexes=[1]),
    "too few types": spoilt(type_indexes=[]),
    "too many ids": spoilt(command_ids=["x", "y"]),
    "origin index": spoilt(origin_indexes=[0]),
    "saga's": spoilt(source="bank-saga-0", first_no=1),
    "compensation": spoilt(compensates=["x"]),
    "long actor": spoilt(origins=[Origin(actor="x" * 1_000_000)]),
    "no actor": spoilt(origins=[Origin()]),
    "long type": spoilt(types=["x" * 1_000_000]),
    "too many": frame(9, [DEPOSIT] * (MAX_FRAME_COMMANDS + 1)).SerializeToString(),
}


@pytest.mark.parametrize("body", BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_a_malformed_frame_ends_the_stream(server: Server, body: bytes) -> None:
    """INVALID_ARGUMENT names the frame's message type, after the frames before it were answered."""
    server.ask(OPEN)
    good = [frame(n, [DEPOSIT]).SerializeToString() for n in (1, 2, 3)]
    answered, answer = ended(server, iter([*good, body]))
    assert sorted(answered) == [1, 2, 3]
    assert (answer.code, answer.reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
    assert "bennu.v1.CommandFrame" in answer.status.message


def test_a_frame_over_four_mebibytes_is_not_read(server: Server) -> None:
    """The transport refuses it, and the server goes on with other streams."""
    assert ended(server, iter([bytes(MAX_FRAME_BYTES + 1)]))[1].code == "RESOURCE_EXHAUSTED"
    assert answers(server, [frame(1, [OPEN])])[1].codes


def test_a_misspelt_name_ends_the_stream(server: Server) -> None:
    """Metadata is judged as that of a call is."""
    _, answer = ended(server, iter(()), {"bennu-actr": "ann"})
    assert (answer.code, answer.fields) == ("INVALID_ARGUMENT", ["bennu-actr"])


def test_a_client_that_leaves_leaves_nothing_behind(server: Server) -> None:
    """A stream that is cancelled at work ends, and the next one is served."""
    frames = (frame(n, [DEPOSIT] * 100) for n in range(1, 1_000))
    stream = server.stream.Execute(frames, timeout=TIMEOUT_S)
    next(stream)
    stream.cancel()
    assert answers(server, [frame(1, [OPEN])])[1].codes
