"""What a process has heard of the others of its service.  Times are its own monotonic clock's, in microseconds."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from bennu.members.limits import FORGET_MS, SILENCE_MS
from bennu.v1.members_pb2 import SEAT_PART_LEADS, Heartbeat, Seat


@dataclass(frozen=True)
class Peer:
    """A process as its last heartbeat showed it."""

    beat: Heartbeat
    heard_us: int
    seats: dict[int, Seat]

    @property
    def node(self) -> str:
        return str(self.beat.node)


class Release(NamedTuple):
    """A leadership that was given up in order."""

    epoch: int
    term: int
    successor: str
    pinned: bool
    heard_us: int


class Claim(NamedTuple):
    """Who says that it leads."""

    node: str
    address: str
    epoch: int


def life_order(beat: Heartbeat) -> tuple[int, int]:
    """Of two lives of one name, the one that began later has the higher one."""
    return beat.began_at, beat.life


class Directory:
    """The peers of one service by name, this process among them, once it hears itself."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._peers: dict[str, Peer] = {}
        self._released: dict[int, Release] = {}
        self._leaders: dict[int, Claim | None] = {}
        """What was found since the last heartbeat: every call that is sent on asks."""

    def hear(self, beat: Heartbeat, now_us: int) -> bool:
        """Take a heartbeat; False for one that is old news or another service's."""
        known = self._peers.get(beat.node)
        if beat.service != self._service or (known is not None and self._is_old(beat, known, now_us)):
            return False
        if known is None:
            self._drop_silent(now_us)
        self._peers[beat.node] = Peer(beat, now_us, {seat.partition: seat for seat in beat.seats})
        self._leaders.clear()
        for seat in beat.seats:
            if seat.released:
                self.release(seat, now_us)
        return True

    @staticmethod
    def _is_old(beat: Heartbeat, known: Peer, now_us: int) -> bool:
        """It lay somewhere while its sender went on; or another life of this name is heard, whichever came first.

        Of two that live the later one is about to stop: to take it for the other one would hide what that leads.
        One that was killed is missed for as long anyway, before anybody takes over from it.
        """
        last = known.beat
        if beat.life == last.life:
            return beat.count <= last.count
        return not last.leaving and now_us - known.heard_us < SILENCE_MS * 1000

    def release(self, seat: Seat, now_us: int) -> None:
        """The leadership that this seat sees was given up in order."""
        known = self._released.get(seat.partition)
        if known is None or known.epoch < seat.epoch:  # said again with each heartbeat: the first time counts
            self._released[seat.partition] = Release(seat.epoch, seat.term, seat.successor, seat.pinned, now_us)
            self._leaders.pop(seat.partition, None)

    def _drop_silent(self, now_us: int) -> None:
        for peer in list(self._peers.values()):
            if now_us - peer.heard_us > FORGET_MS * 1000:
                del self._peers[peer.node]

    def forget(self) -> None:
        """What was heard is old: nobody is live, but what was released stays so."""
        self._peers.clear()
        self._leaders.clear()

    def live(self, now_us: int) -> Iterator[Peer]:
        """Those heard of lately, and not about to leave."""
        for peer in self._peers.values():
            if now_us - peer.heard_us < SILENCE_MS * 1000 and not peer.beat.leaving:
                yield peer

    def peer(self, node: str) -> Peer | None:
        """The process of this name, as it was heard last."""
        return self._peers.get(node)

    def released(self, seat: Seat) -> Release | None:
        """Whether, and to whom, the leadership that this seat sees was given up in order."""
        found = self._released.get(seat.partition)
        return found if found and (found.epoch, found.term) == (seat.epoch, seat.term) else None

    def leader(self, number: int) -> Claim | None:
        """Whoever claims the latest epoch, also if that was said long ago, or was named to begin a later one."""
        if number not in self._leaders:
            best = max(self._claims(number), key=lambda found: (found[1].epoch, found[0].heard_us), default=None)
            claim = Claim(best[0].node, best[0].beat.address, best[1].epoch) if best else None
            self._leaders[number] = self._heir(number, after=claim.epoch if claim else 0) or claim
        return self._leaders[number]

    def _heir(self, number: int, *, after: int) -> Claim | None:
        """Who was named by the leader of this epoch, or of a later one: it will lead, unless it has died."""
        release = self._released.get(number)
        if release is None or release.epoch < after:
            return None
        peer = self._peers.get(release.successor)
        return Claim(peer.node, peer.beat.address, release.epoch + 1) if peer else None

    def _claims(self, number: int) -> Iterator[tuple[Peer, Seat]]:
        for peer in self._peers.values():
            seat = peer.seats.get(number)
            if seat is not None and seat.part == SEAT_PART_LEADS:
                yield peer, seat
