"""Chance as an input: jitter and terms come from a `random.Random` that is given, so a simulation repeats a run."""

import random


def system_chance() -> random.Random:
    """The operating system's, for a process that is not simulated."""
    return random.SystemRandom()  # noqa: TID251 - the one place that draws it
