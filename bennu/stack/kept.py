"""Which log a folder was used with: its Postgres holds positions in that one, and could not go on with another."""

from pathlib import Path

from bennu.errors import BadSettings
from bennu.stack.stack import LogKind

FAMILIES = {LogKind.SQLITE: "sqlite", LogKind.ROCKETMQ: "rocketmq", LogKind.ROCKETMQ_LOCAL: "rocketmq"}
"""Both ways to run RocketMQ have one store."""
RECORDS = {"sqlite": "log/*.sqlite", "rocketmq": "rocketmq/store/commitlog/*"}
"""Where the records lie below the folder."""


def refuse_other_log(folder: Path, kind: LogKind) -> None:
    """Raise `BadSettings` when the folder was used with another log.  One with both is taken at the caller's word."""
    used = [family for family, pattern in RECORDS.items() if any(folder.glob(pattern))]
    asked = FAMILIES[kind]
    if used and asked not in used:
        raise BadSettings(
            f"{folder} was used with --log {used[0]}, and what its Postgres holds belongs to that log: say --log "
            f"{used[0]}, or name another folder with --dir for {kind}"
        )
