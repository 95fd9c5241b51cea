"""A suite with an archiver, destroyed, and another one built from the archive: whatever the app is."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from bennu.domain.app import App
from bennu.errors import Unavailable
from bennu.log.port import Log
from bennu.ops import topics
from bennu.replica.agreement import encode_state
from bennu.replica.cold import ColdReplay
from bennu.replica.history import Judged, records
from bennu.replica.journal import JournalReader, Position, Verdict
from bennu.stack.service import Service
from bennu.stack.suite import Suite, SuiteSettings
from bennu.v1.journal_pb2 import EventBatch

COMMAND_TIMEOUT_S = 600.0

Records: TypeAlias = dict[str, list[bytes]]
"""Bodies by topic, from offset 0 on."""


def archiver(suite: Suite, folder: Path) -> Service:
    """`bennu archive` for a suite, ready to be started."""
    settings = suite.settings
    flags = ["--app", settings.app, "--log", suite.log_url, "--partitions", str(settings.partitions)]
    return Service(
        "archiver", [*flags, "--to", str(folder)], folder.parent, environ=settings.environ, module="bennu.archive"
    )


class RebuiltSuite(Suite):
    """A suite whose log and snapshots are restored before a service starts, all by commands.

    `restored` is what `bennu restore` said.
    """

    told_of_postgres = ("cserver", "saga", "qserver")

    def __init__(self, settings: SuiteSettings, folder: Path, *, archive: Path) -> None:
        super().__init__(settings, folder)
        self._from = archive
        self.restored: list[dict[str, Any]] = []
        self.put_back = 0

    def fill_log(self) -> None:
        said = bennu("restore", "--from", str(self._from), "--log", self.log_url, settings=self.settings)
        self.restored = said["topics"]
        said = bennu("snapshots", "put-back", "--from", str(self._from), settings=self.settings, dsn=self.dsn)
        self.put_back = sum(not one["passed_over"] for one in said["snapshots"])

    def make_topics(self) -> None:
        # Not here: gRPC's poller serves the loop of this process, and would be left with one that was closed.
        flags = ("--app", self.settings.app, "--log", self.log_url, "--partitions", str(self.settings.partitions))
        bennu("topics", "create", *flags, settings=self.settings)

    @property
    def began_from_snapshots(self) -> int:
        """How many partitions of services did, by what they say in their logs."""
        lines = (line for service in self.services.values() for line in service.lines())
        return sum('"event": "restored"' in line for line in lines)


def take_snapshots(suite: Suite, archive: Path) -> int:
    """Of all journals, as an operator would, and keep them beside the archive; how many are kept."""
    settings = suite.settings
    for command in ("snapshot", "snapshot-sagas"):
        flags = ("--app", settings.app, "--log", suite.log_url, "--partitions", str(settings.partitions))
        bennu(command, *flags, settings=settings, dsn=suite.dsn)
    said = bennu("snapshots", "keep", "--to", str(archive), settings=settings, dsn=suite.dsn)
    return sum(not one["passed_over"] for one in said["snapshots"])


def bennu(*arguments: str, settings: SuiteSettings, dsn: str = "") -> Any:  # noqa: ANN401  JSON of a command
    """What a command says with --json.  Raises `Unavailable` with what it complained of."""
    environ = dict(settings.environ) | ({"BENNU_POSTGRES": dsn} if dsn else {})
    command = [sys.executable, "-m", "bennu.cli.main", *arguments, "--json"]
    ran = subprocess.run(  # noqa: S603  our own command, as an operator would give it
        command, capture_output=True, text=True, check=False, env=environ, timeout=COMMAND_TIMEOUT_S
    )
    if ran.returncode:
        raise Unavailable(f"`bennu {' '.join(arguments)}` ended with {ran.returncode}: {ran.stderr.strip()}")
    return json.loads(ran.stdout.splitlines()[-1])


def kill_services(suite: Suite, others: Sequence[Service]) -> None:
    """kill -9, the archiver as well: nobody has time to finish anything."""
    for service in (*others, *suite.services.values()):
        service.kill()


def destroy(suite: Suite) -> None:
    """Nothing of its log and its tables is left."""
    suite.stop()
    shutil.rmtree(suite.folder)


async def all_records(log: Log, settings: SuiteSettings) -> Records:
    """Everything in the topics that are archived."""
    names = topics.histories(settings.app_name, settings.partitions)
    return {name: [body async for _, body in records(log, name)] for name in names}


def differences(before: Records, after: Records, ends: dict[str, int]) -> list[str]:
    """What was archived, up to these ends, and does not stand in the new log as it stood in the old one."""
    return [
        f"{topic}: the record at offset {offset} is not the one that was archived"
        for topic, end in ends.items()
        for offset in range(end)
        if after[topic][offset : offset + 1] != before[topic][offset : offset + 1]
    ]


def state_digests(found: Records, app: App, ends: dict[str, int]) -> dict[str, str]:
    """By journal of the domain, the digest of every state that a cold replay makes of the records up to these ends.

    Raises `Diverged` where the replay differs from a digest in the journal.
    """
    return {topic: _digest(topic, found[topic][: ends[topic]], app) for topic in _journals(ends, app)}


def command_ids(found: Records, app: App, ends: dict[str, int]) -> set[str]:
    """Of all commands that were decided in the records up to these ends."""
    return {
        command_id
        for topic in _journals(ends, app)
        for one in _judged(topic, found[topic][: ends[topic]])
        if one.verdict is Verdict.BATCH and isinstance(one.record, EventBatch)
        for command_id in one.record.command_ids
    }


def _journals(ends: dict[str, int], app: App) -> list[str]:
    return [topic for topic in ends if topic.startswith(f"{app.name}-events-")]


def _judged(topic: str, bodies: Sequence[bytes]) -> Iterator[Judged]:
    reader = JournalReader(Position(topic))
    for offset, body in enumerate(bodies):
        verdict, record = reader.classify(offset, body)
        yield Judged(offset, verdict, record, reader.position)


def _digest(topic: str, bodies: Sequence[bytes], app: App) -> str:
    replay = ColdReplay(app)
    for one in _judged(topic, bodies):
        replay.take(one)
    total = hashlib.blake2b(digest_size=16)
    for number, states in enumerate(replay.fold.states):
        for key in sorted(states):
            total.update(f"{number}\0{key}\0".encode())
            total.update(encode_state(states[key]))
    return total.hexdigest()
