"""From bytes to a command that may be decided, or to the reason why it may not.  All of it before the core task."""

import os
from collections.abc import Callable, Sequence

from google.protobuf.message import DecodeError, Message
from grpc import StatusCode
from protovalidate import ValidationError, Validator

from bennu.domain.app import App, CommandRule, QueryRule
from bennu.domain.saga import COMMAND_ID_PREFIX
from bennu.limits import (
    ID_AHEAD_MS,
    MAX_COMMAND_BYTES,
    MAX_COMMAND_ID_BYTES,
    MAX_UNKNOWN_FIELD_BYTES,
)
from bennu.ops.answers import status
from bennu.replica.window import UUID_CHARS, is_uuid7
from bennu.v1 import options_pb2
from bennu.v1.command_pb2 import Origin
from bennu.wire.commands import CONTROL_CHARACTER
from bennu_cserver.origins import NO_ORIGIN, origin_in, problem_of
from bennu_cserver.plain_intake import PlainIntake
from bennu_cserver.submission import Columns, Prepared, Reply, payload_digest

FEW = 3
"""Of fewer commands, each by itself takes less time."""


class Refused(Exception):
    """Refused before deciding: the id stays free.  `reply` says why."""

    def __init__(self, reply: Reply, reason: str, message: str) -> None:
        super().__init__(message)
        self.reply = reply
        self.reason = reason


def invalid(message: str, field: str = "") -> Refused:
    """INVALID_ARGUMENT, naming the field where there is one."""
    reply = status(StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", message, field=field)
    return Refused(reply, "invalid_argument", message)


class Intake:
    """Parses, validates and identifies.  `wall_us` is the clock that new ids are made by."""

    def __init__(self, app: App, wall_us: Callable[[], int]) -> None:
        self._app = app
        self._wall_us = wall_us
        self._validator = Validator()
        self._plain = PlainIntake(app, self._validator)

    def commands(self, type_name: str, columns: Columns) -> Sequence[Prepared | Refused]:
        """What `command` makes of each of a client's commands of one type."""
        ids = self._ids(columns.command_ids, of_log=False)
        found = self._plain.commands(type_name, columns._replace(command_ids=ids)) if ids else ()
        return found or [
            self._one(type_name, payload, command_id, origin=origin)
            for payload, command_id, origin in zip(*columns, strict=True)
        ]

    def _one(self, type_name: str, payload: bytes, command_id: str, *, origin: Origin) -> Prepared | Refused:
        try:
            return self.command(type_name, payload, command_id or None, origin=origin)
        except Refused as refused:
            return refused

    def command(self, type_name: str, payload: bytes, command_id: str | None, *, origin: Origin) -> Prepared:
        """A client's command; None has an id made for it.  Raises `Refused`."""
        rule = self._app.commands.get(type_name)
        if rule is None or not rule.reply_type:
            raise invalid(f"{type_name!r} is not a command of {self._app.service.full_name}")
        return self._prepared(rule, payload, self._client_id(command_id), origin=origin)

    def from_log(self, type_name: str, payload: bytes, command_id: str, *, origin: Origin) -> Prepared:
        """A command of a log: one that can't be decided is prepared all the same, to be journaled as rejected."""
        rule = self._app.commands.get(type_name)
        try:
            if rule is None:
                raise invalid(f"{type_name!r} is not a command of app `{self._app.name}`")
            return self._prepared(rule, payload, self._identified(command_id), origin=origin)
        except Refused as refused:
            digest = payload_digest(type_name)(payload)
            refusal = (refused.reason, str(refused))
            short_id = command_id[:MAX_COMMAND_ID_BYTES]
            return Prepared(short_id, type_name, None, None, digest, origin, refusal=refusal)

    def all_from_log(self, type_name: str, columns: Columns) -> Sequence[Prepared]:
        """What `from_log` makes of each of a log's commands of one type."""
        ids = self._ids(columns.command_ids, of_log=True)
        found = self._plain.commands(type_name, columns, of_log=True) if ids else ()
        return found or [
            self.from_log(type_name, payload, command_id, origin=origin)
            for payload, command_id, origin in zip(*columns, strict=True)
        ]

    def query(self, rule: QueryRule, payload: bytes) -> Message:
        """A query.  Raises `Refused`."""
        return self._parsed(rule, payload)

    def _prepared(self, rule: CommandRule, payload: bytes, command_id: str, *, origin: Origin) -> Prepared:
        message = self._parsed(rule, payload)
        digest = payload_digest(rule.type_name)(message.SerializeToString(deterministic=True))
        return Prepared(command_id, rule.type_name, rule, message, digest, origin, rule.key(message))

    def _parsed(self, rule: CommandRule | QueryRule, payload: bytes) -> Message:
        name = rule.type_name
        if len(payload) > MAX_COMMAND_BYTES:
            text = f"{name} has {len(payload)} bytes; at most {MAX_COMMAND_BYTES} are taken"
            raise Refused(status(StatusCode.RESOURCE_EXHAUSTED, "COMMAND_TOO_LARGE", text), "command_too_large", text)
        try:
            message = rule.message.FromString(payload)
        except DecodeError as error:
            raise invalid(f"not a valid {name}: {error}") from error
        if len(payload) > MAX_UNKNOWN_FIELD_BYTES:
            _check_unknown(message, name)
        try:
            self._validator.validate(message, fail_fast=True)
        except ValidationError as error:
            violation = error.violations[0].proto
            path = ".".join(element.field_name for element in violation.field.elements) if violation.field else ""
            raise invalid(f"{name}.{path}: {violation.message}", path) from error
        if not rule.key(message):
            raise invalid(f"{name}: the key field is empty", _key_field(message))
        return message

    def _ids(self, command_ids: Sequence[str], *, of_log: bool) -> Sequence[str]:
        """Checked, and made where one is empty; none if one of them can't be taken, or it is not worth the while."""
        if len(command_ids) < FEW:
            return ()
        text, lengths = " ".join(("", *command_ids)), set(map(len, command_ids))
        if (
            text.isascii()
            and text.isprintable()
            and (of_log or f" {COMMAND_ID_PREFIX}" not in text)
            and lengths.isdisjoint((0, UUID_CHARS))
            and max(lengths) <= MAX_COMMAND_ID_BYTES
        ):
            return command_ids  # 0.1 us each, where each by itself takes 0.7
        identified = self._identified if of_log else self._client_id
        try:
            return [identified(command_id or None) for command_id in command_ids]
        except Refused:
            return ()

    def _client_id(self, command_id: str | None) -> str:
        if command_id is not None and command_id.startswith(COMMAND_ID_PREFIX):
            raise invalid(f"command ids that begin with {COMMAND_ID_PREFIX} are for sagas", "idempotency-key")
        return self._identified(command_id)

    def _identified(self, command_id: str | None) -> str:
        if command_id is None:
            return self.new_id()
        if not command_id or len(command_id.encode()) > MAX_COMMAND_ID_BYTES:
            raise invalid(
                f"a command id has 1 to {MAX_COMMAND_ID_BYTES} bytes; leave it out to have one made", "idempotency-key"
            )
        if CONTROL_CHARACTER.search(command_id):
            raise invalid("a command id has no control characters, such as line ends or zeros", "idempotency-key")
        if is_uuid7(command_id):
            self._check_time(command_id)
        return command_id

    def _check_time(self, command_id: str) -> None:
        made_ms = int(command_id[:8] + command_id[9:13], 16)
        if made_ms > self._wall_us() // 1000 + ID_AHEAD_MS:
            raise invalid(f"the UUIDv7 {command_id} claims to be made in the future", "idempotency-key")

    def new_id(self) -> str:
        """A UUIDv7 (RFC 9562) as text."""
        bits = int.from_bytes(os.urandom(10)) & ~(0xF << 76) & ~(0x3 << 62) | 7 << 76 | 2 << 62
        text = f"{(self._wall_us() // 1000 << 80) | bits:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def origin_of(metadata: dict[str, str | bytes]) -> Origin:
    """Who asks, and within which trace, from a call's metadata.  Raises `Refused`."""
    origin = origin_in(metadata)
    if origin is not NO_ORIGIN and (problem := problem_of(origin)):
        field, text = problem
        raise invalid(text, field)
    return origin


def _check_unknown(message: Message, name: str) -> None:
    known = type(message)()
    known.CopyFrom(message)
    known.DiscardUnknownFields()
    unknown_bytes = message.ByteSize() - known.ByteSize()
    if unknown_bytes > MAX_UNKNOWN_FIELD_BYTES:
        raise invalid(
            f"{name} has {unknown_bytes} bytes in fields unknown here; at most {MAX_UNKNOWN_FIELD_BYTES} pass"
        )


def _key_field(message: Message) -> str:
    return next(f.name for f in message.DESCRIPTOR.fields if f.GetOptions().Extensions[options_pb2.key])
