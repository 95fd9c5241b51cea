"""A small history of a bank and its journal, made so that all promises are kept; tests spoil it."""

import hashlib
from dataclasses import dataclass, field

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from bank.app import app
from bank.v1.commands_pb2 import Deposit, OpenAccount, Withdraw
from bank.v1.events_pb2 import AccountOpened, Deposited, Withdrawn
from bennu.drill.calls import OK, Answer, Call, command_of
from bennu.drill.journals import Journal, read_journal
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.replica.journal import encode
from bennu.v1.command_pb2 import Rejection
from bennu.v1.journal_pb2 import EventBatch, Outcome
from tests.journal_writer import Entry, JournalWriter

TOPIC = "bank-events-0"
FAILED_PRECONDITION = 9

COMMANDS: dict[str, Message] = {
    "open": OpenAccount(account="alice", owner="Ann", currency="EUR"),
    "fund": Deposit(account="alice", amount_minor=100, currency="EUR"),
    "out": Withdraw(account="alice", amount_minor=30, currency="EUR"),
    "in": Deposit(account="alice", amount_minor=30, currency="EUR"),
    "too-much": Withdraw(account="alice", amount_minor=900, currency="EUR"),
}
EVENTS: dict[str, Message] = {
    "open": AccountOpened(account="alice", owner="Ann", currency="EUR"),
    "fund": Deposited(account="alice", amount_minor=100, currency="EUR", balance_minor=100),
    "out": Withdrawn(account="alice", amount_minor=30, currency="EUR", balance_minor=70),
    "in": Deposited(account="alice", amount_minor=30, currency="EUR", balance_minor=100),
}
REFUSED = Rejection(reason="insufficient_funds", message="the balance is 70")


@dataclass
class History:
    """A journal being written, and the calls that it answers."""

    log: MemoryLog = field(default_factory=lambda: MemoryLog(MemoryBroker()))
    calls: list[Call] = field(default_factory=list)

    async def begin(self) -> None:
        await self.log.create(TOPIC)
        self.writer = JournalWriter(self.log, TOPIC)
        await self.writer.epoch(term=1)

    def batch(self, *ids: str) -> EventBatch:
        """The next batch, with what a leader decides of these commands."""
        batch = self.writer.build([Entry(one, [EVENTS[one]] if one in EVENTS else []) for one in ids], recorded_at_us=0)
        batch.payload_digests = b"".join(digest_of(COMMANDS[one]) for one in ids)
        for number, one in enumerate(ids):
            if one not in EVENTS:
                batch.outcomes[number] = Outcome.OUTCOME_REJECTED
                batch.replies.append(REFUSED.SerializeToString())
        return batch

    async def lead(self, *ids: str) -> None:
        """A batch that is acknowledged to all."""
        await self.writer.take(self.batch(*ids))
        for one in ids:
            self.tell(one, self.writer.position.batch_no)

    async def lead_on_too_long(self, *ids: str) -> None:
        """Another one takes over, but a batch of the leader before it lands after that."""
        late = self.batch(*ids)
        await self.writer.epoch(term=self.writer.position.term + 1)
        await self.writer.append(encode(late))

    def tell(self, command_id: str, batch_no: int) -> Call:
        """An acknowledgement as a server gives it."""
        code, reply = OK, b""
        if command_id in EVENTS:
            reply = EVENTS[command_id].SerializeToString()
        else:
            code, reply = FAILED_PRECONDITION, status(REFUSED.reason)
        call = self.asked(command_id)
        call.answer = Answer(1.0, "n1", code, reply, f"{TOPIC}:{batch_no}")
        return call

    def asked(self, command_id: str) -> Call:
        """A call that has no answer yet."""
        call = Call(command_of(app, 1, COMMANDS[command_id], command_id=command_id), 0.0, attempts=1)
        self.calls.append(call)
        return call

    async def journal(self) -> Journal:
        """As it is read in the end."""
        return await read_journal(self.log, app, 0)


def digest_of(message: Message) -> bytes:
    """Of a command, as it stands in a journal."""
    content = message.DESCRIPTOR.full_name.encode() + b"\0" + message.SerializeToString(deterministic=True)
    return hashlib.blake2b(content, digest_size=16).digest()


def status(reason: str) -> bytes:
    """A refusal as gRPC carries it."""
    detail = Any()
    detail.Pack(ErrorInfo(reason=reason, domain="bennu"))
    found: bytes = Status(code=FAILED_PRECONDITION, message=reason, details=[detail]).SerializeToString()
    return found
