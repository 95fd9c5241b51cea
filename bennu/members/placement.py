"""Who should lead a partition: rendezvous hashing, so that a node that comes or goes moves only its own share.

D. G. Thaler, C. V. Ravishankar: Using Name-Based Mappings to Increase Hit Rates, 1998.
"""

from collections.abc import Iterable
from hashlib import blake2b


def ranked(number: int, nodes: Iterable[str]) -> list[str]:
    """Nodes in the order in which they should lead partition `number`; every process finds the same."""
    return sorted(nodes, key=lambda node: (_weight(number, node), node), reverse=True)


def _weight(number: int, node: str) -> bytes:
    return blake2b(f"{number}\0{node}".encode(), digest_size=8).digest()
