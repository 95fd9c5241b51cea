"""The stages of a command's way through CServer, as its metrics name them, and what they say is the bottleneck."""

from collections.abc import Mapping
from typing import NamedTuple

NAME = "bennu_stage_seconds"
STAGES = {
    "edge": "parsed, validated and prepared",
    "inbox": "in line for its partition",
    "decide": "from its first command to its last",
    "gather": "in the open batch, while the one before is appended",
    "encode": "its batch is made bytes",
    "append": "until its batch is read as effective",
    "reply": "made bytes and handed to the transport",
}
"""In their order."""
BUSY = 0.85
"""Of a core: Python runs in one thread at a time, so a process that takes so much has no more to give."""
FILLED = ("gather", "append")
"""Of the log: a batch waits for the one before, then for its own append."""


class Usage(NamedTuple):
    """What a process did in a while."""

    seconds: float
    cpu_s: float
    commands: int
    stages_s: Mapping[str, float]
    """The mean of a measured call; empty if none was."""


def bottleneck(usage: Usage) -> str:
    """What limits it, for a person; it ends a sentence."""
    if not usage.commands:
        return "its callers: no commands came"
    busy = usage.cpu_s / usage.seconds
    cpu_us = usage.cpu_s / usage.commands * 1e6
    if busy >= BUSY:
        return (
            f"the processor: {busy:.0%} of a core is taken, {cpu_us:.0f} us a command; frames of more commands cost "
            "less each, and another process can lead some of the partitions"
        )
    whole_s = sum(usage.stages_s.values())
    if not whole_s:
        return "nothing that could be measured yet: one call in sixteen is"
    log_s = sum(usage.stages_s[stage] for stage in FILLED)
    if log_s >= whole_s / 2:
        return (
            f"the log: {log_s / whole_s:.0%} of a call's time is waiting for appends, of "
            f"{usage.stages_s['append'] * 1e3:.1f} ms each; more commands at a time would share them"
        )
    stage = max(usage.stages_s, key=lambda name: usage.stages_s[name])
    return (
        f"{stage}, {usage.stages_s[stage] / whole_s:.0%} of a call's time ({STAGES[stage]}), while the process takes "
        f"{busy:.0%} of a core: few callers at a time, or others on this machine that keep it from running"
    )
