"""Whether a service kept its promises: what clients were told, joined with what the journals say.

The numbers of invariants are those of docs/ARCHITECTURE.md.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields

from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from bennu.drill.calls import OK, Answer, Call, Command
from bennu.drill.journals import Entry, Journal
from bennu.drill.limits import SHOWN
from bennu.v1.command_pb2 import Rejection
from bennu.v1.journal_pb2 import Outcome

REJECTED = Outcome.OUTCOME_REJECTED


@dataclass
class Findings:
    """Ids of commands by what is wrong with them; nothing is in here while all promises were kept."""

    lost: list[str] = field(default_factory=list)
    """Acknowledged, but in no effective batch."""
    duplicated: list[str] = field(default_factory=list)
    """In more than one effective batch, or twice in one."""
    stale_acknowledgements: list[str] = field(default_factory=list)
    """Acknowledged with a position at which no effective batch holds them: by a leader whose time was over."""
    changed_replies: list[str] = field(default_factory=list)
    """What was told is not what the journal says, or not what was told when the command was repeated."""
    refused_but_applied: list[str] = field(default_factory=list)
    """A definite refusal, but there are events of it."""
    not_asked: list[str] = field(default_factory=list)
    """In the journal, but nobody sent it so."""
    unanswered: list[str] = field(default_factory=list)
    """Without a known outcome, however often it was repeated."""
    unexpected: list[str] = field(default_factory=list)
    """Answered with what this load can't be answered with."""

    def sentences(self) -> list[str]:
        """One for each kind of finding."""
        found = ((one.name.replace("_", " "), getattr(self, one.name)) for one in fields(self))
        return [f"{len(ids)} {name}: {', '.join(ids[:SHOWN])}" for name, ids in found if ids]


def judge(calls: Sequence[Call], journals: Sequence[Journal], *, name: str = "") -> Findings:
    """I1, I2, I3, I6 and I12 over all that was asked; commands whose ids do not begin with `name` are others'."""
    findings = Findings()
    entries = _merged(journals)
    void = frozenset[str]().union(*(journal.void for journal in journals))
    findings.duplicated = [command_id for command_id, found in entries.items() if len(found) > 1]
    asked = {call.command.command_id: call.command for call in calls}
    findings.not_asked = [
        command_id
        for command_id, found in entries.items()
        if command_id.startswith(name) and not _is_asked(asked.get(command_id), found)
    ]
    for call in calls:
        command_id = call.command.command_id
        if call.answer is None:
            findings.unanswered.append(command_id)
        else:
            _judge_answer(findings, command_id, call.answer, found=entries.get(command_id, []), void=void)
    return findings


def _merged(journals: Iterable[Journal]) -> dict[str, list[Entry]]:
    merged: dict[str, list[Entry]] = {}
    for journal in journals:
        for command_id, found in journal.entries.items():
            merged.setdefault(command_id, []).extend(found)
    return merged


def _is_asked(command: Command | None, found: Sequence[Entry]) -> bool:
    if command is None:
        return False
    content = b"%b\0%b" % (command.type_name.encode(), command.payload)
    digest = hashlib.blake2b(content, digest_size=16).digest()
    return all(entry.digest == digest for entry in found)


def _judge_answer(
    findings: Findings, command_id: str, answer: Answer, *, found: Sequence[Entry], void: frozenset[str]
) -> None:
    topic, _, number = answer.token.rpartition(":")
    rejected = _reason(answer)
    if answer.code != OK and any(entry.events for entry in found):
        findings.refused_but_applied.append(command_id)
    if not topic or (answer.code != OK and rejected is None):
        findings.unexpected.append(f"{command_id} (code {answer.code})")
        return
    if not found:
        findings.lost.append(command_id)
    if not any(entry.topic == topic and entry.batch_no <= int(number) for entry in found) and (
        found or command_id in void
    ):
        findings.stale_acknowledgements.append(command_id)
    if found and not any(_says(entry, answer, rejected) for entry in found):
        findings.changed_replies.append(command_id)


def _reason(answer: Answer) -> str | None:
    """Why the domain refused; None if it did not."""
    if answer.code == OK:
        return None
    for detail in Status.FromString(answer.reply).details:
        info = ErrorInfo()
        if detail.Unpack(info):
            return str(info.reason)
    return None


def _says(entry: Entry, answer: Answer, reason: str | None) -> bool:
    """Whether the journal says what was told."""
    if entry.outcome < REJECTED:
        return answer.code == OK and answer.reply == entry.reply
    return answer.code != OK and Rejection.FromString(entry.reply).reason == reason


def judge_repeats(findings: Findings, calls: Sequence[Call], repeats: Sequence[Call]) -> None:
    """I3: who asks again is told the same, byte for byte."""
    told: Mapping[str, Answer | None] = {call.command.command_id: call.answer for call in calls}
    for repeat in repeats:
        command_id = repeat.command.command_id
        first = told.get(command_id)
        if repeat.answer is None:
            findings.unanswered.append(command_id)
        elif first is not None and (first.code, first.reply) != (repeat.answer.code, repeat.answer.reply):
            findings.changed_replies.append(command_id)
