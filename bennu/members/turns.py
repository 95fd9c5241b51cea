"""Whose turn it is to lead a partition.  No clock and no I/O: times are given, monotonic, in microseconds."""

from collections import defaultdict
from typing import NamedTuple

from bennu.members.directory import Directory
from bennu.members.limits import HANDOVER_EVERY_MS, NEAR_BATCHES, SETTLE_MS, SILENCE_MS, STEP_MS
from bennu.members.placement import Eligible, placed, ranked
from bennu.v1.members_pb2 import SEAT_PART_FOLLOWS, SEAT_PART_LEADS, Seat

SILENCE_US = SILENCE_MS * 1000
ELIGIBLE = (SEAT_PART_FOLLOWS, SEAT_PART_LEADS)


class Sign(NamedTuple):
    """When a leadership was last seen to be alive."""

    epoch: int
    term: int
    us: int


class Vacancy(NamedTuple):
    """Since when nobody leads, and whom the last leader named."""

    since_us: int
    heir: str = ""


class Turns:
    """What one process, `me`, concludes from what it hears."""

    def __init__(self, me: str, directory: Directory) -> None:
        self._me = me
        self._directory = directory
        self._echo_us: int | None = None
        self._hears_since_us = 0
        self._rival_us: int | None = None
        self._signs: dict[int, Sign] = {}
        self._preferred: dict[int, tuple[str, int]] = {}
        self._handed_us = -HANDOVER_EVERY_MS * 1000
        self._found: tuple[int, dict[int, Eligible]] = (-1, {})

    # --- what it hears

    def echo(self, now_us: int) -> None:
        """A heartbeat of its own came back through the log."""
        if self.is_deaf(now_us):
            self._hears_since_us = now_us
        self._echo_us = now_us

    def rival(self, heard_us: int | None) -> None:
        """An earlier life of our name was heard, which may live yet; None: it has left."""
        self._rival_us = heard_us

    def sign(self, number: int, epoch: int, term: int, *, now_us: int) -> None:
        """A batch of this leadership was read, or a heartbeat claims it."""
        known = self._signs.get(number)
        if known is None or known.epoch <= epoch:
            self._signs[number] = Sign(epoch, term, now_us)

    def is_deaf(self, now_us: int) -> bool:
        """No heartbeat of its own comes back: what it hears of others, or does not, means nothing."""
        return self._echo_us is None or now_us - self._echo_us > SILENCE_US

    # --- what follows

    def candidates(self, number: int, now_us: int) -> Eligible:
        """Live nodes that lead the partition or may."""
        return self._eligible(now_us).get(number, frozenset())

    def order(self, number: int, now_us: int) -> tuple[str, ...]:
        """Live nodes that may lead the partition, whoever should before the others."""
        eligible = self._eligible(now_us)
        others = ranked(number, eligible.get(number, frozenset()))
        first = placed(eligible).get(number)
        return (first, *(node for node in others if node != first)) if first else ()

    def _eligible(self, now_us: int) -> dict[int, Eligible]:
        if self._found[0] != now_us:  # all partitions are looked at one after another, with one reading of the clock
            self._found = now_us, self._find_eligible(now_us)
        return self._found[1]

    def _find_eligible(self, now_us: int) -> dict[int, Eligible]:
        found: defaultdict[int, set[str]] = defaultdict(set)
        for peer in self._directory.live(now_us):
            for number, seat in peer.seats.items():
                if seat.part in ELIGIBLE:
                    found[number].add(peer.node)
        return {number: frozenset(nodes) for number, nodes in found.items()}

    def due_us(self, seat: Seat, now_us: int) -> int | None:
        """When this process, whose seat is given, is to propose: the first in rank at once, the others in steps.

        That is unless something is heard before; None where something has to be heard first.
        """
        vacancy = self._vacancy(seat, now_us)
        if vacancy is None:
            return None
        free_us = vacancy.since_us if self._rival_us is None else max(vacancy.since_us, self._rival_us + SILENCE_US)
        if now_us < free_us:
            return free_us
        order = self.order(seat.partition, now_us)
        if vacancy.heir in order:
            order = (vacancy.heir, *(node for node in order if node != vacancy.heir))
        before = order.index(self._me) if self._me in order else len(order)
        return vacancy.since_us + before * STEP_MS * 1000

    def _vacancy(self, seat: Seat, now_us: int) -> Vacancy | None:
        """From when on nobody leads; None where that can't be said yet.

        Silence counts only while our own heartbeats come back: a log that is away must make nobody suspect anybody,
        nor must a process that was paused and finds its own clock ahead.
        """
        if self.is_deaf(now_us):
            return None
        sign = self._signs.get(seat.partition)
        if sign is not None and sign.epoch > seat.epoch and now_us - sign.us < SILENCE_US:
            return None  # somebody claims what we have not read yet
        if sign is None or (sign.epoch, sign.term) != (seat.epoch, seat.term):
            sign = self._signs[seat.partition] = Sign(seat.epoch, seat.term, now_us)
        if seat.epoch == 0:
            return Vacancy(sign.us)
        release = self._directory.released(seat)
        if release is not None:
            return Vacancy(release.heard_us, release.successor)
        return Vacancy(max(sign.us, self._hears_since_us) + SILENCE_US)

    def heir(self, seat: Seat, now_us: int) -> str:
        """To whom this process, which leads, should give the partition now; empty to keep it."""
        number = seat.partition
        preferred = next(iter(self.order(number, now_us)), self._me)
        if not self._is_near(preferred, seat):
            preferred = self._me
        since = self._preferred.get(number)
        if since is None or since[0] != preferred:
            since = self._preferred[number] = (preferred, now_us)
        settled = now_us - since[1] >= SETTLE_MS * 1000
        calm = now_us - self._handed_us >= HANDOVER_EVERY_MS * 1000
        return preferred if preferred != self._me and settled and calm else ""

    def handed(self, number: int, now_us: int) -> None:
        """A partition was given away."""
        self._handed_us = now_us
        self._preferred.pop(number, None)

    def _is_near(self, node: str, mine: Seat) -> bool:
        peer = self._directory.peer(node)
        seat = peer.seats.get(mine.partition) if peer else None
        return (
            seat is not None
            and seat.part == SEAT_PART_FOLLOWS
            and seat.epoch == mine.epoch
            and seat.batch_no >= mine.batch_no - NEAR_BATCHES
        )
