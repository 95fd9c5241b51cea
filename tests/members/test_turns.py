"""Whose turn it is, from what one process heard and when; times in microseconds, as it is given them."""

import pytest

from bennu.members.directory import Directory
from bennu.members.limits import (
    HANDOVER_EVERY_MS,
    HEARTBEAT_MS,
    NEAR_BATCHES,
    SETTLE_MS,
    SILENCE_MS,
    STEP_MS,
)
from bennu.members.placement import ranked
from bennu.members.turns import Turns
from bennu.v1.members_pb2 import SEAT_PART_STARTING, SEAT_PART_STOPPED, Seat, SeatPart
from tests.members.beats import SERVICE, beat, released, seat

SILENT_US, STEP_US, BEAT_US = SILENCE_MS * 1000, STEP_MS * 1000, HEARTBEAT_MS * 1000
SETTLED_US = SETTLE_MS * 1000
NODES = ranked(0, frozenset(("a", "b", "c")))
FIRST, SECOND, THIRD = NODES


class Heard:
    """What `me` hears of nodes that beat regularly."""

    def __init__(self, me: str) -> None:
        self.me = me
        self.directory = Directory(SERVICE)
        self.turns = Turns(me, self.directory)
        self._counts: dict[str, int] = {}

    def say(self, now_us: int, node: str, *seats: Seat) -> None:
        self._counts[node] = self._counts.get(node, 0) + 1
        self.directory.hear(beat(node, self._counts[node], *seats), now_us)
        if node == self.me:
            self.turns.echo(now_us)

    def all_follow(self, now_us: int, *nodes: str, epoch: int = 4) -> None:
        for node in nodes or NODES:
            self.say(now_us, node, seat(epoch))

    def beating(self, begin_us: int, end_us: int, *nodes: str) -> int:
        """They follow; when this was said last."""
        now_us = begin_us
        while now_us < end_us:
            self.all_follow(now_us, *nodes)
            now_us += BEAT_US
        self.all_follow(end_us, *nodes)
        return end_us


def test_silence_is_suspected_when_it_is_long_enough() -> None:
    """Neither a batch nor a heartbeat for SILENCE_MS, and not a moment earlier."""
    heard = Heard(FIRST)
    heard.turns.sign(0, 4, 7, now_us=0)
    now_us = heard.beating(0, SILENT_US - 1)
    assert heard.turns.due_us(seat(4), now_us) == SILENT_US
    heard.turns.sign(0, 4, 7, now_us=now_us)
    assert heard.turns.due_us(seat(4), now_us) == now_us + SILENT_US


def test_the_ranking_proposes_in_steps() -> None:
    """A node that does not act is passed over by the next one, a step later."""
    for place, me in enumerate(NODES):
        heard = Heard(me)
        heard.turns.sign(0, 4, 7, now_us=0)
        now_us = heard.beating(0, SILENT_US)
        assert heard.turns.due_us(seat(4), now_us) == SILENT_US + place * STEP_US


@pytest.mark.parametrize("part", [SEAT_PART_STARTING, SEAT_PART_STOPPED])
def test_who_may_not_lead_is_waited_for_by_nobody(part: SeatPart.ValueType) -> None:
    """A process that reads yet, or can't follow, has no place in the ranking."""
    heard = Heard(SECOND)
    heard.turns.sign(0, 4, 7, now_us=0)
    heard.beating(0, SILENT_US, SECOND, THIRD)
    heard.say(SILENT_US, FIRST, Seat(partition=0, part=part, epoch=4, term=7))
    assert heard.turns.due_us(seat(4), SILENT_US) == SILENT_US


def test_nobody_is_suspected_by_who_does_not_hear_itself() -> None:
    """A log of members that is away says nothing of a leader."""
    heard = Heard(FIRST)
    assert heard.turns.due_us(seat(4), 0) is None
    heard.turns.sign(0, 4, 7, now_us=0)
    heard.all_follow(0)
    assert heard.turns.due_us(seat(4), 2 * SILENT_US) is None


def test_a_process_that_was_paused_suspects_nobody_at_once() -> None:
    """What it missed counts from when it hears itself again."""
    heard = Heard(FIRST)
    heard.turns.sign(0, 4, 7, now_us=0)
    heard.all_follow(0)
    woken_us = 5 * SILENT_US
    assert heard.turns.due_us(seat(4), woken_us) is None
    heard.all_follow(woken_us)
    assert heard.turns.due_us(seat(4), woken_us) == woken_us + SILENT_US


def test_what_was_released_is_taken_at_once_by_whom_it_names() -> None:
    """The others wait for it, one step longer than usual each."""
    for me, steps in ((THIRD, 0), (FIRST, 1), (SECOND, 2)):
        heard = Heard(me)
        heard.all_follow(0)
        heard.say(10, "old", released(4, THIRD))
        assert heard.turns.due_us(seat(4), 20) == 10 + steps * STEP_US


def test_a_successor_that_is_gone_is_not_waited_for() -> None:
    """The ranking goes on as if it had not been named."""
    heard = Heard(FIRST)
    heard.all_follow(0)
    heard.say(10, "old", released(4, "gone"))
    assert heard.turns.due_us(seat(4), 20) == 10


def test_a_journal_that_nobody_ever_led_is_taken_by_rank() -> None:
    """At the very beginning there is no leader to be missed."""
    for place, me in enumerate(NODES):
        heard = Heard(me)
        heard.all_follow(0, epoch=0)
        assert heard.turns.due_us(seat(0, term=0), 0) == place * STEP_US


def test_a_claim_of_an_epoch_not_yet_read_is_waited_for() -> None:
    """A follower that is behind must not depose whom it has not heard of from the journal; but not for ever."""
    heard = Heard(FIRST)
    heard.turns.sign(0, 4, 7, now_us=0)
    now_us = heard.beating(0, SILENT_US)
    heard.turns.sign(0, 5, 9, now_us=now_us)
    assert heard.turns.due_us(seat(4), now_us) is None
    later_us = heard.beating(now_us, now_us + SILENT_US)
    due_us = heard.turns.due_us(seat(4), later_us)
    assert due_us == later_us + SILENT_US


def test_a_sign_of_an_old_epoch_says_nothing_of_the_new_one() -> None:
    """A zombie's batches and claims do not keep its successor's silence from being noticed."""
    heard = Heard(FIRST)
    heard.turns.sign(0, 5, 9, now_us=0)
    now_us = heard.beating(0, SILENT_US)
    heard.turns.sign(0, 4, 7, now_us=now_us)
    assert heard.turns.due_us(seat(5, term=9), now_us) == SILENT_US


class Leading(Heard):
    """The last in rank leads, and the others follow closely."""

    def __init__(self) -> None:
        super().__init__(THIRD)
        self.batch_no = 1000

    def everybody(self, now_us: int, behind: int = 0) -> None:
        self.say(now_us, THIRD, self.mine)
        for node in (FIRST, SECOND):
            self.say(now_us, node, seat(4, batch_no=self.batch_no - behind))

    @property
    def mine(self) -> Seat:
        return seat(4, leads=True, batch_no=self.batch_no)

    def heirs(self, begin_us: int, end_us: int, behind: int = 0) -> list[str]:
        """To whom it would give the partition, at each heartbeat of that time."""
        found = []
        for now_us in range(begin_us, end_us, BEAT_US):
            self.everybody(now_us, behind)
            found.append(self.turns.heir(self.mine, now_us))
        return found


def test_the_preferred_node_gets_its_partition_once_it_is_settled() -> None:
    """Live and caught up for SETTLE_MS: a node that comes and goes moves nothing."""
    leading = Leading()
    assert set(leading.heirs(0, SETTLED_US)) == {""}
    leading.everybody(SETTLED_US)
    assert leading.turns.heir(leading.mine, SETTLED_US) == FIRST


def test_the_wait_begins_anew_when_the_preferred_node_was_away() -> None:
    """It is live without a break, or does not get it."""
    leading = Leading()
    leading.heirs(0, SETTLED_US - SILENT_US)
    for now_us in range(SETTLED_US - SILENT_US, SETTLED_US + 2 * SILENT_US, BEAT_US):
        leading.say(now_us, THIRD, leading.mine)
        assert leading.turns.heir(leading.mine, now_us) == ""
    back_us = SETTLED_US + 2 * SILENT_US
    assert set(leading.heirs(back_us, back_us + SETTLED_US)) == {""}
    assert leading.heirs(back_us + SETTLED_US, back_us + SETTLED_US + 1) == [FIRST]


def test_who_is_far_behind_is_given_nothing() -> None:
    """Callers would wait for it to read."""
    leading = Leading()
    assert set(leading.heirs(0, 2 * SETTLED_US, behind=NEAR_BATCHES + 1)) == {""}
    assert FIRST in leading.heirs(2 * SETTLED_US, 4 * SETTLED_US, behind=NEAR_BATCHES)


def test_partitions_are_handed_over_one_after_another() -> None:
    """Callers of a single one wait at a time."""
    leading = Leading()
    handed_us = SETTLED_US - BEAT_US
    leading.heirs(0, handed_us)
    leading.turns.handed(1, handed_us)
    calm_us = handed_us + HANDOVER_EVERY_MS * 1000
    assert set(leading.heirs(handed_us, calm_us)) == {""}
    assert leading.heirs(calm_us, calm_us + 1) == [FIRST]
