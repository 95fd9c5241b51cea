"""Two builds, as processes: one is upgraded while the other serves; and a rule that is no function of its event."""

from http import HTTPStatus
from pathlib import Path

from bennu.v1.members_pb2 import SEAT_PART_FOLLOWS, SEAT_PART_LEADS, SEAT_PART_STOPPED
from tests.builds.processes import EVENTS, fill, nodes, seat
from tests.cli.shell import run
from tests.cserver.served import Server


def test_an_older_build_follows_no_more_and_the_newer_goes_on(tmp_path: Path) -> None:
    """The newer reads all that the older wrote; the older names what it does not know, is not ready, and runs on."""
    with nodes(tmp_path, older="app_old", newer="app_new", late="app_old") as (older, newer, late):
        older.start()
        assert fill(older, "a", 3) == 3
        newer.launch()
        seat(newer, SEAT_PART_LEADS)  # by its name it is ranked before the other
        assert fill(newer, "a", 4) == 7
        _does_not_know(older)
        assert fill(newer, "a", 1) == 8
        assert fill(older, "a", 1) == 9, "it sends on what it is asked"
        late.launch()  # and the same for one that meets it in what has been
        _does_not_know(late)
        assert fill(newer, "a", 1) == 10
        assert [node.stop() for node in (late, older, newer)] == [0, 0, 0]


def _does_not_know(older: Server) -> None:
    reason = seat(older, SEAT_PART_STOPPED).reason
    assert reason.startswith(EVENTS)
    assert reason.endswith("event type builds.v1.Filled3 is not known to app `builds`")
    older.first_line_with("follows no more and can't take over")
    status, page = older.ops("/readyz")
    assert (status, "Filled3" in page) == (HTTPStatus.SERVICE_UNAVAILABLE, True)


def test_a_rule_that_reads_a_clock_is_found_by_the_follower(tmp_path: Path) -> None:
    """It names the batch and stops following; the leader goes on; a cold replay finds the same batch."""
    with nodes(tmp_path, first="app_impure", second="app_impure") as (first, second):
        first.start()
        second.launch()
        seat(second, SEAT_PART_FOLLOWS)
        assert fill(first, "pure", 1) == 1
        assert fill(first, "clock", 1) == 1
        reason = seat(second, SEAT_PART_STOPPED).reason
        assert "is the first after which this replica's state differs from the journal's digest" in reason
        assert "it touched BoxRules clock." in reason
        assert fill(first, "pure", 1) == 2
        assert (second.stop(), first.stop()) == (0, 0)
    verify = ("journal", "verify", "--log", first.log_url, "--app", "tests.builds.app_impure:app")
    ended = run(verify, folder=tmp_path)
    assert ended.code == 70
    assert ended.error.split(" and ")[0] == reason.split(" and ")[0]
    assert ended.error.split("; it touched")[0] == reason.split("; it touched")[0]
