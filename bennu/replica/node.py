"""What the partitions of one process share."""

from dataclasses import dataclass

from bennu.log.port import Log
from bennu.members.group import Group
from bennu.replica.leader import Candidate


@dataclass(frozen=True)
class Node:
    """One process of a service."""

    log: Log
    candidate: Candidate
    group: Group
