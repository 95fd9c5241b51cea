"""`python -m tests.simulation.run --seeds N --first S`: the write path under misfortune, from numbered seeds."""

import argparse
import sys
import time
from collections.abc import Sequence

from tests.simulation.simulate import simulate


def main(argv: Sequence[str] | None = None) -> int:
    """0 when all held, 1 when something did not."""
    parser = argparse.ArgumentParser(prog="simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many (default 100)")
    parser.add_argument("--first", type=int, default=0, help="the first one (default 0)")
    parser.add_argument("--trace", action="store_true", help="print what happened")
    arguments = parser.parse_args(argv)
    began_s, bad, commands, epochs = time.process_time(), 0, 0, 0
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        outcome = simulate(seed)
        commands, epochs = commands + outcome.commands, epochs + outcome.epochs
        if arguments.trace:
            print("\n".join(outcome.trace))
        if outcome.violation:
            bad += 1
            print(f"seed {seed}: {outcome.violation}", flush=True)
    took_s = time.process_time() - began_s
    print(f"{arguments.seeds} seeds, {bad} violations, {commands} answers, {epochs} epochs claimed, {took_s:.1f} s CPU")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
