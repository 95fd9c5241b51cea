"""The write path under misfortune: seeds hold, a seed repeats its run, and wrong versions of the product are caught.

`make simulate SEEDS=10000` is the thorough run; this one only notices what breaks often.
"""

import os
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest

from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.run import main
from tests.simulation.simulate import simulate

ROOT = Path(__file__).resolve().parent.parent.parent
SMOKE_SEEDS = 200
NO_MISTAKE_OF_THE_PRODUCT = re.compile("(Type|Value|Attribute|Assertion|Name|Lookup|Key)Error")
OTHER_SEEDS = 60
"""How many seeds a mutant may survive beside the one that is written down for it."""


@pytest.mark.parametrize("first", range(0, SMOKE_SEEDS, 20))
def test_invariants_hold(first: int, capsys: pytest.CaptureFixture[str]) -> None:
    """I1-I6, I9-I12 and I14 hold for the real product, whatever dies, sleeps, is lost, doubled or late."""
    assert main(["--first", str(first), "--seeds", "20"]) == 0, capsys.readouterr().out


def test_a_seed_repeats_its_run() -> None:
    """The same seed gives the same run, also in another process with another hash seed."""
    seeds = range(1000, 1005)
    here = [simulate(seed).digest for seed in seeds]
    assert here == [simulate(seed).digest for seed in seeds]
    program = f"from tests.simulation.simulate import simulate; print(*[simulate(s).digest for s in {list(seeds)}])"
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    there = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert there.stdout.split() == here


def test_seeds_differ() -> None:
    """Another seed is another run: the digest is of what happened, not a constant."""
    assert len({simulate(seed).digest for seed in range(5)}) == 5


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_wrong_product_is_caught(mutant: Mutant) -> None:
    """A simulation that never finds anything proves nothing: each seeded mistake breaks an invariant."""
    with mutant.at_work():
        seeds = chain((mutant.seed,), range(OTHER_SEEDS))
        caught = next((outcome for outcome in map(simulate, seeds) if outcome.violation), None)
    assert caught is not None, f"no seed of {mutant.seed} and 0 to {OTHER_SEEDS - 1} noticed: {mutant.name}"
    assert not NO_MISTAKE_OF_THE_PRODUCT.search(caught.violation), f"the mutant itself is broken: {caught.violation}"
    print(f"seed {caught.seed}: {caught.violation}")


def test_a_violation_is_told_with_its_seed(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, the seed, the invariant, and the command that shows the run again."""
    with MUTANTS[0].at_work():
        code = main(["--seed", str(MUTANTS[0].seed)])
    said = capsys.readouterr().out
    assert code == 1
    assert f"seed {MUTANTS[0].seed}: I" in said
    assert f'ARGS="--seed {MUTANTS[0].seed} --trace"' in said
