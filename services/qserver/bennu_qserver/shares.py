"""Which loops this process should run, from what all processes see alike."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bennu.members.placement import placed
from bennu.ops.generations import BUILDING, LIVE
from bennu_qserver.dispatch import DeclaredProjection
from bennu_qserver.generations import Generation, Seen
from bennu_qserver.positions import Place


class Share(NamedTuple):
    """What one process does of the work."""

    loops: Mapping[Place, Generation]
    leads: Sequence[Generation]
    """Those whose first partition is its own: it carries out what operators wish for them."""


def share_of(node: str, seen: Seen, *, partitions: int) -> Share:
    """Of the process of this name; every process places all partitions alike."""
    loops: dict[Place, Generation] = {}
    leads: list[Generation] = []
    for generation in seen.generations:
        owners = _owners(seen.able(generation), partitions)
        mine = [number for number, owner in owners.items() if owner == node]
        if generation.key.projection not in seen.paused:
            loops |= {Place(*generation.key, number): generation for number in mine}
        # What nobody can project can still be dropped.
        first = owners.get(0) or _owners(frozenset(seen.workers), partitions)[0]
        if first == node:
            leads.append(generation)
    return Share(loops, leads)


def _owners(able: frozenset[str], partitions: int) -> Mapping[int, str]:
    return placed(dict.fromkeys(range(partitions), able))


def changed(declared: Sequence[DeclaredProjection], seen: Seen) -> list[str]:
    """What this build declares otherwise than the live generation was made, each with what to do."""
    ours = {projection.name: projection.declaration for projection in declared}
    told: list[str] = []
    for generation in seen.generations:
        name = generation.key.projection
        if generation.state == LIVE and name in ours and generation.declaration != ours[name]:
            told.append(f"{name}: {_advice(generation, _building(seen, name, ours[name]))}")
    return told


def _building(seen: Seen, name: str, declaration: str) -> Generation | None:
    wanted = (name, BUILDING, declaration)
    found = (each for each in seen.generations if (each.key.projection, each.state, each.declaration) == wanted)
    return next(found, None)


def _advice(live: Generation, building: Generation | None) -> str:
    if building is not None:
        return f"generation {building.key.number} is built, as this build declares it"
    return (
        f"this build declares it otherwise than live generation {live.key.number} was made; once this build is the one "
        f"to stay: `bennu projections rebuild {live.key.projection}`"
    )
