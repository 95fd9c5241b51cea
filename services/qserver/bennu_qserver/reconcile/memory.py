"""CServer's memory against the journal."""

from typing import NamedTuple


class MemoryTable(NamedTuple):
    """What became of a partition."""

    partition: int
    aggregates: int
    differences: int
    position: str
