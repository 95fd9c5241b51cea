"""What a process makes of heartbeats that come late, twice, out of order, or from lives that have ended."""

import pytest

from bennu.members.directory import Directory
from bennu.members.limits import FORGET_MS, SILENCE_MS
from bennu.v1.members_pb2 import Heartbeat
from tests.members.beats import SERVICE, beat, released, seat

SILENT_US = SILENCE_MS * 1000


def live(directory: Directory, now_us: int = 0) -> list[tuple[str, int]]:
    return [(peer.node, peer.beat.life) for peer in directory.live(now_us)]


@pytest.fixture
def directory() -> Directory:
    return Directory(SERVICE)


def test_another_services_heartbeats_are_not_heard(directory: Directory) -> None:
    """Sagas' processes say nothing about who may lead the journals of commands."""
    assert not directory.hear(Heartbeat(service="saga", node="a", life=1, count=1), 0)
    assert live(directory) == []


def test_a_heartbeat_counts_once(directory: Directory) -> None:
    """One that the log holds twice, or that lay somewhere, is no sign of life."""
    assert directory.hear(beat("a", 2), 0)
    assert not directory.hear(beat("a", 2), SILENT_US - 1)
    assert not directory.hear(beat("a", 1), SILENT_US - 1)
    assert live(directory, SILENT_US) == []


def test_a_later_life_is_heard_once_the_earlier_one_is_silent(directory: Directory) -> None:
    """Until then both may live, and what the earlier leads must not be hidden; then what it left may still come."""
    directory.hear(beat("a", 50, seat(3, leads=True), life=9, began_at=4), 0)
    assert not directory.hear(beat("a", 1, seat(3), life=2, began_at=60), SILENT_US - 1)
    claim = directory.leader(0)
    assert claim is not None
    assert claim.node == "a"
    assert directory.hear(beat("a", 2, seat(3), life=2, began_at=60), SILENT_US)
    assert not directory.hear(beat("a", 51, seat(3, leads=True), life=9, began_at=4), SILENT_US + 1)
    assert live(directory, SILENT_US + 1) == [("a", 2)]
    assert directory.leader(0) is None


def test_a_later_life_is_heard_at_once_where_the_earlier_one_has_left(directory: Directory) -> None:
    """A process that was stopped in order and starts again is not waited for."""
    goodbye = beat("a", 50, life=9, began_at=4)
    goodbye.leaving = True
    directory.hear(goodbye, 0)
    assert directory.hear(beat("a", 1, life=2, began_at=60), 10)
    assert not directory.hear(beat("a", 49, life=9, began_at=4), 20)
    assert live(directory, 20) == [("a", 2)]


def test_a_straggler_of_a_life_never_heard_of_hides_nobody(directory: Directory) -> None:
    """The first that is ever heard of a life may come after it has ended and another one of its name has begun."""
    directory.hear(beat("a", 30, life=2, began_at=60), 0)
    assert not directory.hear(beat("a", 8, life=9, began_at=4), 10)
    assert directory.hear(beat("a", 31, life=2, began_at=60), 20)
    assert live(directory, 20) == [("a", 2)]


def test_a_life_that_seems_earlier_is_heard_once_the_other_is_silent(directory: Directory) -> None:
    """Where the log of members lost its end, offsets begin again below those of the dead."""
    directory.hear(beat("a", 30, life=2, began_at=60), 0)
    assert not directory.hear(beat("a", 1, life=3, began_at=5), SILENT_US - 1)
    assert directory.hear(beat("a", 2, life=3, began_at=5), SILENT_US)
    assert live(directory, SILENT_US) == [("a", 3)]


def test_who_leaves_or_is_silent_is_not_live(directory: Directory) -> None:
    """A process that says goodbye is chosen by nobody at once; one that says nothing, after a while."""
    directory.hear(beat("a"), 0)
    goodbye = beat("b")
    goodbye.leaving = True
    directory.hear(goodbye, 0)
    assert live(directory, SILENT_US - 1) == [("a", 1)]
    assert live(directory, SILENT_US) == []


def test_who_leads_is_whoever_claims_the_latest_epoch(directory: Directory) -> None:
    """A deposed leader claims its own for a while, and may be heard last."""
    directory.hear(beat("new", 1, seat(5, leads=True)), 0)
    directory.hear(beat("old", 1, seat(4, leads=True)), 10)
    claim = directory.leader(0)
    assert claim is not None
    assert (claim.node, claim.address, claim.epoch) == ("new", "at-new:1", 5)


def leads(directory: Directory) -> tuple[str, int]:
    claim = directory.leader(0)
    assert claim is not None
    return claim.node, claim.epoch


def test_who_was_named_is_taken_for_the_leader_until_somebody_leads_later(directory: Directory) -> None:
    """Callers go there at once; if it never leads, whoever does instead is believed."""
    directory.hear(beat("b", 1, seat(4)), 0)
    directory.hear(beat("a", 1, seat(4, leads=True)), 0)
    assert leads(directory) == ("a", 4)
    directory.release(released(4, "b"), 10)
    assert leads(directory) == ("b", 5)
    directory.hear(beat("a", 2, seat(4, leads=True)), 20)  # said before it gave up
    assert leads(directory) == ("b", 5)
    directory.hear(beat("b", 2, seat(5, leads=True)), 30)
    assert leads(directory) == ("b", 5)
    directory.hear(beat("c", 1, seat(5, leads=True)), 40)
    assert leads(directory) == ("c", 5)


def test_a_leadership_given_up_in_favour_of_nobody_known_stays_with_who_had_it(directory: Directory) -> None:
    """There is nobody else to be asked."""
    directory.hear(beat("a", 1, seat(4, leads=True)), 0)
    directory.release(released(4, "never-heard-of"), 10)
    assert leads(directory) == ("a", 4)


def test_a_release_counts_from_when_it_was_first_heard(directory: Directory) -> None:
    """It is said with every heartbeat while it holds, and the successor's patience must not begin anew."""
    for count, now_us in ((1, 100), (2, 200)):
        directory.hear(beat("a", count, released(4, "b")), now_us)
    release = directory.released(seat(4))
    assert release is not None
    assert (release.successor, release.heard_us) == ("b", 100)


def test_a_release_is_of_one_leadership_alone(directory: Directory) -> None:
    """Another term or epoch is not given up by it; and one of an earlier epoch, heard late, hides no later one."""
    directory.hear(beat("a", 1, released(4)), 0)
    directory.hear(beat("b", 1, released(3)), 0)
    assert directory.released(seat(4)) is not None
    assert directory.released(seat(4, term=8)) is None
    assert directory.released(seat(5)) is None


def test_what_stood_in_the_log_before_counts_for_releases_alone(directory: Directory) -> None:
    """A process that starts finds nobody live in old heartbeats, but knows who was named to lead next."""
    directory.hear(beat("a", 1, released(4, "b")), 0)
    directory.forget()
    assert live(directory) == []
    assert directory.released(seat(4)) is not None


def test_names_that_are_silent_for_long_are_dropped(directory: Directory) -> None:
    """Names made anew at each start, as containers have them, must not fill memory."""
    directory.hear(beat("a"), 0)
    directory.hear(beat("b"), FORGET_MS * 1000 + 1)
    assert directory.peer("a") is None
    assert directory.peer("b") is not None
