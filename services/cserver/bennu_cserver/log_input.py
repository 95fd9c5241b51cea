"""The command log of a partition as input: records become submissions, in order, once each."""

from collections.abc import Iterator, Sequence, Set
from contextlib import aclosing

import structlog
from google.protobuf.message import DecodeError
from msgspec.structs import replace

from bennu.domain.app import App
from bennu.domain.saga import COMMAND_ID_PREFIX
from bennu.limits import MAX_STREAM_NAME_BYTES, MAX_TYPE_NAME_BYTES
from bennu.log.port import Log
from bennu.v1.command_pb2 import CommandBatch
from bennu.wire.commands import COMMANDS_FORMAT_VERSION, CONTROL_CHARACTER
from bennu.wire.partitioning import partition_of
from bennu_cserver.command_loop import Partition
from bennu_cserver.intake import Intake
from bennu_cserver.observed import Observed
from bennu_cserver.origins import origin_at, problem_of
from bennu_cserver.submission import Caller, Prepared, Submission

logger = structlog.get_logger()


class GarbageRecord(Exception):
    """A record that is no command batch: passed over, for anybody may write to a command log."""


class CommandLogReader:
    """Feeds one partition.  Its position is journaled with the effects, so each record counts once."""

    def __init__(self, app: App, topic: str, place: tuple[int, int], *, observed: Observed, sources: Set[str]) -> None:
        """`sources`: whose numbered streams are taken; a gap in one of them stops the service, so nobody else's are."""
        self._app = app
        self._sources = sources
        self._topic = topic
        self._number, self._partitions = place
        self._observed = observed

    async def feed(self, log: Log, partition: Partition, intake: Intake) -> None:
        """Read for ever, with a bounded number of records waiting to be decided."""
        offset = partition.replica.state.input_offset(self._topic)
        async with aclosing(log.read(self._topic, offset)) as chunks:
            async for chunk in chunks:
                for record in chunk:
                    await partition.log_slots.acquire()
                    partition.submit(self.submission(intake, record.offset, record.body))

    def submission(self, intake: Intake, offset: int, body: bytes) -> Submission:
        """The record's commands; none if it is garbage, so that only the position moves."""
        try:
            batch = parse_commands(body)
            if batch.source and batch.source not in self._sources:
                raise GarbageRecord(f"no numbered commands are taken from {batch.source!r}")
            commands = [self._command(intake, batch, i, offset=offset) for i in range(len(batch.payloads))]
        except GarbageRecord as error:
            logger.warning(
                "garbage in the command log passed over", topic=self._topic, offset=offset, reason=str(error)
            )
            self._observed.garbage_records.inc()
            batch, commands = CommandBatch(), []
        found = Submission(commands, _nobody_waits, caller=Caller(self._topic))
        found.source, found.first_no = batch.source, batch.first_no
        found.input_topic, found.input_offset = self._topic, offset + 1
        return found

    def _command(self, intake: Intake, batch: CommandBatch, i: int, *, offset: int) -> Prepared:
        type_name = batch.types[batch.type_indexes[i]]
        own_id, place = batch.command_ids[i] if batch.command_ids else "", f"{self._topic}/{offset}/{i}"
        origin = origin_at(batch, i)
        if problem := _problem_of_id(own_id, batch):
            command = intake.from_log(type_name, batch.payloads[i], place, origin=origin)
            return replace(command, rule=None, refusal=("invalid_argument", problem))
        command = intake.from_log(type_name, batch.payloads[i], own_id or place, origin=origin)
        if command.rule is not None and command.message is not None:
            belongs = partition_of(command.rule.key(command.message), self._partitions)
            if belongs != self._number:
                refusal = (
                    "wrong_partition",
                    f"belongs to partition {belongs} of {self._partitions}, not {self._number}",
                )
                return replace(command, rule=None, refusal=refusal)
        compensates = batch.compensates[i] if batch.compensates else ""
        return replace(command, compensates=compensates, repeats=bool(batch.repeats) and batch.repeats[i])


def _problem_of_id(own_id: str, batch: CommandBatch) -> str:
    """Why the id may not stand in the journal, not even with a rejection."""
    if own_id.startswith(COMMAND_ID_PREFIX) and not batch.source:
        return f"{own_id}: such ids are for sagas"
    return f"{own_id!r} has control characters" if CONTROL_CHARACTER.search(own_id) else ""


def _nobody_waits(_submission: Submission, _batch_no: int) -> None:
    """Who wrote to the log reads the answer in the journal."""


def parse_commands(body: bytes) -> CommandBatch:
    """A batch whose columns fit together.  Raises `GarbageRecord`."""
    try:
        batch = CommandBatch.FromString(body)
    except DecodeError as error:
        raise GarbageRecord(f"not a bennu.v1.CommandBatch: {error}") from error
    check_columns(batch)
    return batch


def check_columns(batch: CommandBatch) -> None:
    """Raise `GarbageRecord`, saying which columns do not fit together."""
    problem = next(_problems(batch), None)
    if problem:
        raise GarbageRecord(problem)


def _problems(batch: CommandBatch) -> Iterator[str]:
    count = len(batch.payloads)
    if batch.format_version != COMMANDS_FORMAT_VERSION:
        yield f"format_version is {batch.format_version}, expected {COMMANDS_FORMAT_VERSION}"
    if not count:
        yield "there are no payloads"
    if max(map(len, batch.types), default=0) > MAX_TYPE_NAME_BYTES:
        yield f"a type's name has more than {MAX_TYPE_NAME_BYTES} characters"
    if len(batch.source) > MAX_STREAM_NAME_BYTES:
        yield f"the name of the stream has more than {MAX_STREAM_NAME_BYTES} characters"
    if batch.source and not batch.first_no:
        yield "a numbered stream begins at first_no 1"
    if len(batch.type_indexes) != count or max(batch.type_indexes, default=0) >= len(batch.types):
        yield "type_indexes do not fit payloads and types"
    if batch.origin_indexes and (len(batch.origin_indexes) != count or max(batch.origin_indexes) >= len(batch.origins)):
        yield "origin_indexes do not fit payloads and origins"
    optional: tuple[Sequence[object], ...] = (batch.command_ids, batch.compensates, batch.repeats)
    if any(column and len(column) != count for column in optional):
        yield "an optional column is neither empty nor full"
    yield from (problem[1] for origin in batch.origins if (problem := problem_of(origin)))
