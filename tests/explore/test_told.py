"""Paths in words: what each event was about, and that the documentation explains them all."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from random import Random

from bennu.explore.told import told
from bennu.explore.values import Event
from bennu.explore.world import Model
from tests.explore.test_broken_apps import FINE, FROZEN, app_of

TESTING = (Path(__file__).parents[2] / "docs" / "TESTING.md").read_text()


def test_a_path_says_what_each_event_is_about() -> None:
    """Commands with their steps, answers with their events or reasons."""

    async def life() -> Sequence[str]:
        model = Model(app_of(), FROZEN, 2)
        world, path = model.start(), []
        while events := list(model.possible(world, 0)):
            path.append(events[0])
            world = model.after(world, events[0])
        return told(model, tuple(path))

    words = [re.sub(r" \d", "", each) for each in asyncio.run(life())]
    assert words[1:] == [
        "send (withdraw: WithdrawForTransfer)",
        "take (withdraw: WithdrawForTransfer)",
        "read (Withdrawn)",
        "send (deposit: DepositForTransfer)",
        "take (deposit: DepositForTransfer)",
        "read (account_frozen)",
        "send (undo withdraw: ReverseWithdrawal)",
        "take (undo withdraw: ReverseWithdrawal)",
        "read (WithdrawalReversed)",
        "send (the end: FailTransfer)",
        "take (the end: FailTransfer)",
        "read (TransferFailed)",
    ]


def drawn(model: Model, seed: int, *, faults: int = 4) -> Sequence[str]:
    """A path with so many faults at most, in words."""
    chance, world, path = Random(seed), model.start(), list[Event]()
    while True:
        events = list(model.possible(world, faults))
        ordinary, faulty = ([each for each in events if each.fault == fault] for fault in (False, True))
        if not ordinary:
            return told(model, tuple(path))
        event = chance.choice(faulty if faulty and chance.random() < 0.3 else ordinary)
        world, faults = model.after(world, event), faults - event.fault
        path.append(event)


def test_each_word_is_explained() -> None:
    """All kinds of events that paths are told by stand in the table of the documentation, and nothing else does."""

    async def life() -> set[str]:
        model = Model(app_of(), FINE, 2)
        return {line.partition(" ")[0] for seed in range(60) for line in drawn(model, seed)}

    table = re.search(r"^\| event \| what happens \|\n(.*?)\n\n", TESTING, re.MULTILINE | re.DOTALL)
    assert table is not None
    first = "".join(line.split(" | ")[0] for line in table[1].splitlines())
    assert asyncio.run(life()) == set(re.findall(r"`(\w+)`", first))
