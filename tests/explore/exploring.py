"""An exploration within a test."""

import asyncio
from random import Random

from bennu.explore.search import Explored
from bennu.explore.world import Model

FOREVER = float("inf")


def explored(model: Model, *, faults: int, samples: int = 0, seed: int = 1) -> Explored:
    """All orders with so many faults, then a sample with four more."""

    async def life() -> Explored:
        found = Explored(model)
        found.all(faults, FOREVER)
        found.sample(samples, faults + 4, chance=Random(seed), until_s=FOREVER)
        return found

    print(f"seed {seed}")
    return asyncio.run(life())
