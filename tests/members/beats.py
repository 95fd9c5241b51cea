"""Heartbeats as other processes send them."""

from bennu.v1.members_pb2 import SEAT_PART_FOLLOWS, SEAT_PART_LEADS, Heartbeat, Seat

SERVICE = "cserver"
SECOND_US = 1_000_000


def seat(epoch: int, term: int = 7, *, leads: bool = False, number: int = 0, batch_no: int = 0) -> Seat:
    """Follows, or leads, what it sees."""
    part = SEAT_PART_LEADS if leads else SEAT_PART_FOLLOWS
    return Seat(partition=number, part=part, epoch=epoch, term=term, batch_no=batch_no)


def released(epoch: int, successor: str = "", *, term: int = 7, pinned: bool = False) -> Seat:
    """Given up in order."""
    return Seat(partition=0, epoch=epoch, term=term, released=True, successor=successor, pinned=pinned)


def beat(node: str, count: int = 1, *seats: Seat, life: int = 1, began_at: int = 0) -> Heartbeat:
    """One of this service."""
    return Heartbeat(
        service=SERVICE, node=node, life=life, count=count, seats=seats, began_at=began_at, address=f"at-{node}:1"
    )
