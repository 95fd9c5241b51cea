"""Who should lead which partition: rendezvous hashing with bounded loads.

A node that comes or goes moves little more than its own share, and none leads more than its share rounded up.

D. G. Thaler, C. V. Ravishankar: Using name-based mappings to increase hit rates, 1998.
V. Mirrokni, M. Thorup, M. Zadimoghaddam: Consistent hashing with bounded loads, 2018.
"""

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b

Eligible = frozenset[str]
"""Names of the nodes that may lead a partition."""


@lru_cache(maxsize=4096)
def ranked(number: int, nodes: Eligible) -> tuple[str, ...]:
    """Nodes in the order in which they should lead partition `number`, whatever else they lead."""
    return tuple(sorted(nodes, key=lambda node: (_weight(number, node), node), reverse=True))


def _weight(number: int, node: str) -> bytes:
    return blake2b(f"{number}\0{node}".encode(), digest_size=8).digest()


def placed(eligible: Mapping[int, Eligible]) -> Mapping[int, str]:
    """The node that should lead each partition that any may lead; every process finds the same from the same."""
    return _placed(tuple(sorted(eligible.items())))


@lru_cache(maxsize=64)
def _placed(eligible: tuple[tuple[int, Eligible], ...]) -> Mapping[int, str]:
    nodes = frozenset().union(*(some for _, some in eligible))
    share = -(-len(eligible) // max(1, len(nodes)))
    loads: Counter[str] = Counter()
    found: dict[int, str] = {}
    for number, some in eligible:
        order = ranked(number, some)
        if order:
            found[number] = next((node for node in order if loads[node] < share), order[0])
            loads[found[number]] += 1
    return found
