"""Who takes part in the contest of commands."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from benchmarks.contest.calls import Called, OpenLoop, Streamed, Who
from benchmarks.contest.disk import Synced
from benchmarks.contest.library import THREADS as LIBRARY_THREADS
from benchmarks.contest.library import WithLibrary
from benchmarks.contest.port import Entrant
from benchmarks.contest.postgres import CONNECTIONS, ByFunction, ByTransaction, InPostgres
from benchmarks.contest.producer import LINES, Produced
from benchmarks.serving import LOGS
from bennu.errors import BadSettings

FRAMES = (20, 100, 500)
CALLERS = (1, 64, 256)
RATES = (5_000, 10_000, 20_000)
BARE_FRAME = 100


def everybody() -> list[Entrant]:
    """In the order of a round: those that are compared stand side by side."""
    found: list[Entrant] = [Synced()]
    for log in LOGS:
        ours, bare = Who("bennu", log), Who("bare-loop", log)
        found += [Streamed(ours, frame) for frame in FRAMES]
        found.append(Streamed(bare, BARE_FRAME))
        found += [OpenLoop(ours, rate) for rate in RATES]
        found += [Called(ours, callers) for callers in CALLERS]
    found += [Called(Who("echo"), callers) for callers in CALLERS]
    found += [Produced(threads, lines=lines) for threads, lines in LINES.items()]
    found += [InPostgres(way, number) for way in (ByTransaction, ByFunction) for number in CONNECTIONS]
    found += [WithLibrary(threads) for threads in LIBRARY_THREADS]
    return found


def chosen(patterns: Sequence[str]) -> list[Entrant]:
    """Those whose names match one of these; all without any.  Raises `BadSettings` for one that matches none."""
    found = everybody()
    for pattern in patterns:
        if not any(fnmatchcase(each.name, pattern) for each in found):
            names = "\n  ".join(each.name for each in found)
            raise BadSettings(f"--only {pattern}: nobody has such a name; there are\n  {names}")
    return [each for each in found if not patterns or any(fnmatchcase(each.name, pattern) for pattern in patterns)]
