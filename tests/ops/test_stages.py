"""One sentence on what keeps a CServer from doing more."""

from collections.abc import Mapping

import pytest

from bennu.ops.stages import STAGES, Usage, bottleneck


def used(cpu_s: float = 0.2, commands: int = 1_000, stages_s: Mapping[str, float] | None = None) -> Usage:
    """One second of a process, in which each stage took a millisecond unless said otherwise."""
    return Usage(1.0, cpu_s, commands, dict.fromkeys(STAGES, 0.001) | dict(stages_s or {}))


@pytest.mark.parametrize(
    ("usage", "words"),
    [
        (used(commands=0), "its callers: no commands came"),
        (used(cpu_s=0.9), "the processor: 90% of a core is taken, 900 us a command"),
        (used(cpu_s=0.9, stages_s={"append": 1.0}), "the processor"),
        (used(stages_s={"append": 0.02}), "the log: 81% of a call's time is waiting for appends, of 20.0 ms each"),
        (used(stages_s={"gather": 0.02}), "the log: 81%"),
        (used(stages_s={"inbox": 0.02}), "inbox, 77% of a call's time (in line for its partition)"),
        (Usage(1.0, 0.1, 5, {}), "nothing that could be measured yet"),
    ],
)
def test_the_bottleneck_is_named_with_its_figures(usage: Usage, words: str) -> None:
    """What takes the time, how much of it, and what would help."""
    assert bottleneck(usage).startswith(words)
