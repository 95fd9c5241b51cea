"""Golden histories: journals made by the code of their day, committed, and replayed by the code of today.

    @pytest.mark.parametrize("path", golden.histories(FOLDER), ids=lambda path: path.stem)
    def test_history(path: Path) -> None:
        golden.check(app, path)

A history holds the records of one partition's journal, the states they led to, and the replies that were given, both
readable.  `bennu journal export` writes one.  Today's code must make the same of it: every digest of state in the
journal, every field of every state, every reply.  A field that was added since is not in the history, and is not
compared.  Never mend a history: mend the code, or add an upcast.  It holds all that the journal does, so make it from
invented data.
"""

import base64
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
from google.protobuf import json_format
from google.protobuf.message import Message

from bennu.domain.app import App
from bennu.errors import BadSettings, Final
from bennu.ops import folders
from bennu.replica.cold import ColdReplay
from bennu.replica.decision import FAILED, REJECTED
from bennu.replica.history import Judged
from bennu.replica.journal import JournalReader, Position, Verdict
from bennu.replica.window import ReplyWindow
from bennu.v1.command_pb2 import Rejection
from bennu.v1.journal_pb2 import EventBatch

SUFFIX = ".golden.json"
MAX_RECORDS = 10_000
SHOWN = 20
"""Differences that a failure lists."""

Plain = dict[str, object]


class Reply(msgspec.Struct, forbid_unknown_fields=True):
    """What was answered to a command."""

    command: str
    outcome: int
    message: Plain


class History(msgspec.Struct, forbid_unknown_fields=True):
    """As it stands in a file."""

    app: str
    topic: str
    records: list[str]
    states: dict[str, dict[str, Plain]]
    """By kind and key."""
    replies: dict[str, Reply]
    """By command id; those that the window still kept."""


def write(app: App, topic: str, records: Sequence[bytes], *, path: Path) -> None:
    """Replay these records and write the history, in a folder that is made if need be.

    Raises `BadSettings`, or what is wrong with the journal.
    """
    if not path.name.endswith(SUFFIX):
        raise BadSettings(f"{path}: a golden history's name ends in {SUFFIX}")
    if path.exists():
        raise BadSettings(f"{path} is there already, and a golden history is for ever: choose another name")
    if not 0 < len(records) <= MAX_RECORDS:
        raise BadSettings(f"{topic} has {len(records)} records; a golden history has 1 to {MAX_RECORDS}")
    replay, commands = _replayed(app, topic, records)
    text = [base64.b64encode(record).decode() for record in records]
    history = History(app.name, topic, text, _states(app, replay), _replies(app, replay, commands))
    folders.make(path.parent, what=str(path))
    path.write_bytes(msgspec.json.format(msgspec.json.encode(history, order="deterministic"), indent=1) + b"\n")


def histories(folder: Path) -> list[Path]:
    """All below a folder, which must hold one at least."""
    found = sorted(folder.rglob(f"*{SUFFIX}"))
    assert found, f"{folder} holds no golden history: no name in it ends in {SUFFIX}"
    return found


def check(app: App, path: Path) -> None:
    """Replay one.  Raises `AssertionError` naming the file and what differs."""
    history = msgspec.json.decode(path.read_bytes(), type=History)
    assert history.app == app.name, f"{path.name} is a history of app `{history.app}`, not of `{app.name}`"
    try:
        replay, commands = _replayed(app, history.topic, [base64.b64decode(text) for text in history.records])
    except Final as problem:
        raise AssertionError(f"{path.name}: today's `{app.name}` can't replay it: {problem}") from problem
    states = _changed("state of", _by_key(history.states), _by_key(_states(app, replay)))
    replies = _changed("reply to", _by_id(history.replies), _by_id(_replies(app, replay, commands)))
    found = [*states, *replies]
    listed = "\n  ".join(found[:SHOWN])
    assert not found, f"{path.name}: today's `{app.name}` makes something else of it, {len(found)} times\n  {listed}"


def check_under_hash_seeds(app_name: str, folder: Path, seeds: Sequence[int] = (1, 2, 3)) -> None:
    """Check all below a folder in processes of their own: the order of a set of texts is another one in each.

    `app_name` is as for a service, such as `bank.app:app`.
    """
    for seed in seeds:
        environ = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-m", "bennu.testing.golden", app_name, str(folder)]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)  # noqa: S603 - our own module
        assert done.returncode == 0, f"with PYTHONHASHSEED={seed}: {done.stderr.strip()}"


# --- what the code of today makes of it


def _replayed(app: App, topic: str, records: Iterable[bytes]) -> tuple[ColdReplay, dict[str, str]]:
    """The memory, and the types of commands by their ids."""
    reader, replay = JournalReader(Position(topic)), ColdReplay(app)
    commands: dict[str, str] = {}
    for offset, body in enumerate(records):
        verdict, record = reader.classify(offset, body)
        replay.take(Judged(offset, verdict, record, reader.position))
        if verdict is Verdict.BATCH and isinstance(record, EventBatch):
            types = [record.command_types[index] for index in record.command_type_indexes]
            commands.update(zip(record.command_ids, types, strict=True))
    return replay, commands


def _states(app: App, replay: ColdReplay) -> dict[str, dict[str, Plain]]:
    kinds = zip(app.kinds, replay.fold.states, strict=True)
    return {kind.name: {key: _plain(state) for key, state in states.items()} for kind, states in kinds}


def _plain(state: msgspec.Struct) -> Plain:
    return msgspec.json.decode(msgspec.json.encode(state, order="deterministic"), type=Plain)


def _replies(app: App, replay: ColdReplay, commands: dict[str, str]) -> dict[str, Reply]:
    window = replay.state.window if replay.state else ReplyWindow()
    found: dict[str, Reply] = {}
    for command_id, command in commands.items():
        kept = window.get(command_id)
        if kept is not None:
            message = _reply_type(app, command, kept.outcome)
            said = base64.b64encode(kept.reply).decode()
            found[command_id] = Reply(command, kept.outcome, _read(message, kept.reply) if message else {"bytes": said})
    return found


def _reply_type(app: App, command: str, outcome: int) -> type[Message] | None:
    """None for a command without an rpc: its reply is read by nobody."""
    if outcome in {REJECTED, FAILED}:
        return Rejection
    return app.reply_message(command) if command in app.methods else None


def _read(message: type[Message], raw: bytes) -> Plain:
    return json_format.MessageToDict(message.FromString(raw), preserving_proto_field_name=True)


# --- what differs


def _by_key(states: dict[str, dict[str, Plain]]) -> dict[str, Plain]:
    return {f"{kind} {key}": state for kind, of_kind in states.items() for key, state in of_kind.items()}


def _by_id(replies: dict[str, Reply]) -> dict[str, Plain]:
    return {name: {"outcome": reply.outcome, **reply.message} for name, reply in replies.items()}


def _changed(what: str, then: dict[str, Plain], now: dict[str, Plain]) -> Iterator[str]:
    for name in now.keys() - then.keys():
        yield f"{what} {name}: there was none"
    for name, recorded in then.items():
        if name not in now:
            yield f"{what} {name}: there is none any more"
            continue
        for field, value in recorded.items():
            if now[name].get(field, ...) != value:
                yield f"{what} {name}: {field} was {value!r}, is {now[name].get(field, 'no more')!r}"


def main(app_name: str, folder: str) -> None:
    """Check all below a folder."""
    from bennu.ops.apps import load_app

    app = load_app(app_name)
    for path in histories(Path(folder)):
        check(app, path)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (AssertionError, BadSettings) as problem:
        sys.exit(str(problem))
