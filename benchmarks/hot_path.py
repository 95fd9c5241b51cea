"""What a command costs on the hot path in instructions, which no other load on the machine can change.

    python -m benchmarks.hot_path            # the cost now, beside the one that was committed
    python -m benchmarks.hot_path --write    # commit it: say in the commit what was gained or paid

Counted are the bytecode instructions that run in Bennu's and the domain's own code, and the calls from there into C,
for frames of 100 deposits through a memory log; see `write_path`.  What C code does inside, such as parsing protobufs,
is only counted as a call, so this is a guard against growth and no measure of speed.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import bank
import bennu
import bennu_cserver
from benchmarks.frames import deposit_frames, opening_frames
from benchmarks.write_path import FRAME, run

BASELINE = Path(__file__).with_suffix(".json")
FRAMES = 20
MARGIN = 0.05
"""A cost that differs by more has to be written down."""
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
"""Another version compiles to other instructions, and has a cost of its own."""
OURS = tuple(str(Path(place)) for package in (bank, bennu, bennu_cserver) for place in package.__path__)


class Cost(NamedTuple):
    """Of one command."""

    instructions: float
    c_calls: float


class Counter:
    """Counts what runs in our own code."""

    def __init__(self) -> None:
        self.instructions = 0
        self.c_calls = 0

    @contextmanager
    def counting(self) -> Iterator[None]:
        """While the block runs, in this thread."""
        before = sys.gettrace(), sys.getprofile()
        sys.settrace(self._enter)
        sys.setprofile(self._profile)
        try:
            yield
        finally:
            sys.setprofile(before[1])
            sys.settrace(before[0])

    def _enter(self, frame: FrameType, _event: str, _arg: Any) -> Any:  # Any: as `sys.settrace` has it
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._step

    def _step(self, _frame: FrameType, event: str, _arg: Any) -> Any:
        self.instructions += event == "opcode"
        return self._step

    def _profile(self, frame: FrameType, event: str, _arg: Any) -> None:
        self.c_calls += event == "c_call" and frame.f_code.co_filename.startswith(OURS)


def measured() -> Cost:
    """The cost now."""
    counter = Counter()
    opening, rest = opening_frames(FRAME), deposit_frames(FRAME, FRAMES, run="cost")
    asyncio.run(run(opening, rest, around=counter.counting))
    commands = FRAMES * FRAME
    return Cost(round(counter.instructions / commands, 1), round(counter.c_calls / commands, 1))


def committed() -> Cost | None:
    """The cost that was written down for this version of Python, if any."""
    found = json.loads(BASELINE.read_text()).get(PYTHON)
    return None if found is None else Cost(**found)


def main() -> None:
    """Print both; with `--write` keep the one of now."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the cost down")
    now, before = measured(), committed()
    print(f"now: {now}, committed for Python {PYTHON}: {before}")
    if parser.parse_args().write:
        kept = json.loads(BASELINE.read_text()) | {PYTHON: now._asdict()}
        BASELINE.write_text(json.dumps(kept, indent=2) + "\n")


if __name__ == "__main__":
    main()
