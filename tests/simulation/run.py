"""`python -m tests.simulation.run --seeds N --first S`: the write path under misfortune, from numbered seeds."""

import argparse
import sys
import time
from collections.abc import Sequence

from tests.simulation.simulate import Outcome, simulate


def positive(text: str) -> int:
    """A number of runs.  Raises `ValueError`, which argparse tells."""
    if (number := int(text)) < 1:
        raise ValueError
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """0 when all held, 1 when something did not."""
    arguments = _parser().parse_args(argv)
    if arguments.seed is not None:
        arguments.first, arguments.seeds = arguments.seed, 1
    began_s, outcomes = time.process_time(), []
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        outcomes.append(outcome := simulate(seed))
        _say(outcome, trace=arguments.trace, digest=arguments.seed is not None)
    bad = [outcome.seed for outcome in outcomes if outcome.violation]
    answers, epochs = sum(outcome.commands for outcome in outcomes), sum(outcome.epochs for outcome in outcomes)
    print(
        f"seeds {arguments.first} to {arguments.first + arguments.seeds - 1}: {len(bad)} violations, "
        f"{answers} answers, {epochs} epochs claimed, {time.process_time() - began_s:.1f} s CPU"
    )
    if bad:
        print(f'to see one again: make simulate ARGS="--seed {bad[0]} --trace"')
    return 1 if bad else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bennu simulate", description=__doc__)
    parser.add_argument("--seeds", type=positive, default=100, help="how many (default 100)")
    parser.add_argument("--first", type=int, default=0, help="the first one (default 0)")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--trace", action="store_true", help="print what happened")
    return parser


def _say(outcome: Outcome, *, trace: bool, digest: bool) -> None:
    if trace:
        print("\n".join(outcome.trace))
    if digest or outcome.violation:
        print(f"seed {outcome.seed}: {outcome.violation or 'all held'} (run {outcome.digest})", flush=True)


if __name__ == "__main__":
    sys.exit(main())
