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
from bennu_cserver.by_type import by_type
from bennu_cserver.command_loop import Partition
from bennu_cserver.intake import Intake
from bennu_cserver.observed import Observed
from bennu_cserver.origins import origins_of, problem_of
from bennu_cserver.slices import slices_of
from bennu_cserver.submission import Caller, Columns, Prepared, Submission

logger = structlog.get_logger()

Refusal = tuple[str, str]
"""The broken rule, and a sentence."""


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
            parts = slices_of(len(batch.payloads))
            commands = [command for part in parts for command in self._commands(intake, batch, part, offset=offset)]
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

    def _commands(self, intake: Intake, batch: CommandBatch, part: range, *, offset: int) -> Iterator[Prepared]:
        """Some of the commands; what can't be decided is prepared all the same, with the reason."""
        of_part = slice(part.start, part.stop)
        ids = batch.command_ids[of_part] or [""] * len(part)
        bad_ids = _refused_ids(ids, numbered=bool(batch.source))
        for i, own_id in enumerate(ids):
            if not own_id or i in bad_ids:
                ids[i] = f"{self._topic}/{offset}/{part[i]}"
        columns = Columns(batch.payloads[of_part], ids, origins_of(batch, part))
        found = by_type(batch.types, batch.type_indexes[of_part], columns=columns, prepare=intake.all_from_log)
        compensates, repeats = batch.compensates[of_part], batch.repeats[of_part]
        for i, command in enumerate(found):
            if refusal := bad_ids.get(i) or self._elsewhere(command):
                yield replace(command, rule=None, refusal=refusal)
            elif compensates or repeats:
                yield replace(
                    command, compensates=compensates[i] if compensates else "", repeats=bool(repeats) and repeats[i]
                )
            else:
                yield command

    def _elsewhere(self, command: Prepared) -> Refusal | None:
        """Why another partition has to take it, if so."""
        if command.rule is None or command.message is None:
            return None
        belongs = partition_of(command.key, self._partitions)
        if belongs == self._number:
            return None
        return "wrong_partition", f"belongs to partition {belongs} of {self._partitions}, not {self._number}"


def _refused_ids(ids: Sequence[str], *, numbered: bool) -> dict[int, Refusal]:
    """Which may not stand in the journal, not even with a rejection, and why."""
    text = "".join(ids)
    if not CONTROL_CHARACTER.search(text) and (numbered or COMMAND_ID_PREFIX not in text):
        return {}  # 0.1 us each, where each by itself takes 0.5
    problems = ((i, _problem_of_id(own_id, numbered=numbered)) for i, own_id in enumerate(ids))
    return {i: ("invalid_argument", problem) for i, problem in problems if problem}


def _problem_of_id(own_id: str, *, numbered: bool) -> str:
    if own_id.startswith(COMMAND_ID_PREFIX) and not numbered:
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
