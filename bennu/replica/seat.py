"""What a process says of itself in one partition: what it does, and what it gave up in order."""

from typing import NamedTuple

from bennu.replica.journal import Position
from bennu.v1.members_pb2 import SEAT_PART_FOLLOWS, SEAT_PART_LEADS, SEAT_PART_STARTING, Seat, SeatPart


class Heir(NamedTuple):
    """Who leads next; empty: anybody.  `pinned`: an operator said so."""

    node: str
    pinned: bool = False


class OwnSeat:
    """The part of a `Seat` that is this process's own doing."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.part: SeatPart.ValueType = SEAT_PART_STARTING
        self.reason = ""
        self.pinned = False
        self.heir: Heir | None = None
        """To whom the present leadership is being given."""
        self._released: tuple[int, int, Heir] | None = None
        self._said: tuple[object, Seat] = (None, Seat())

    @property
    def follows(self) -> bool:
        """It has read all there is, and leads not."""
        return self.part == SEAT_PART_FOLLOWS

    def lead_next(self, *, pinned: bool) -> None:
        """A leadership of ours may begin."""
        self.heir, self._released, self.pinned = None, None, pinned

    def release(self, position: Position) -> None:
        """The leadership that ends here is over in order, if it has an heir."""
        if self.heir is not None:
            self._released = position.epoch, position.term, self.heir

    def told(self, position: Position) -> Seat:
        """As a heartbeat says it, with what was read by now.  Asked often: the same object until something changes."""
        now = (position, self.part, self.reason, self.pinned, self._released)
        if self._said[0] != now:
            self._said = now, self._made(position)
        return self._said[1]

    def _made(self, position: Position) -> Seat:
        seat = Seat(partition=self._number, part=self.part, epoch=position.epoch, term=position.term)
        seat.batch_no, seat.reason = position.batch_no, self.reason
        seat.pinned = self.pinned and self.part == SEAT_PART_LEADS
        if self._released is not None and self._released[:2] == (position.epoch, position.term):
            seat.released, (seat.successor, seat.pinned) = True, self._released[2]
        return seat
