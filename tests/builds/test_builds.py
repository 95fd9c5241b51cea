"""Two builds of one app on one journal: what the newer writes, what the older makes of it, and the other way round."""

from pathlib import Path

import pytest

from bennu.domain import App
from bennu.errors import UnknownToBuild
from bennu.replica.cold import ColdReplay
from bennu.replica.history import Judged
from bennu.replica.journal import JournalReader, Position
from bennu.testing import golden
from tests.builds import app_new, app_old
from tests.builds.messages import Fill
from tests.replica.deciding import Leader

GOLDEN = Path(__file__).parent / "golden"


def records_of(app: App, *amounts: int) -> list[bytes]:
    """A journal in which the box `a` was filled so, a batch each time."""
    leader = Leader(app)
    for amount in amounts:
        leader.decide(Fill(box="a", amount=amount))
    return leader.records


def follow(replay: ColdReplay, records: list[bytes]) -> None:
    """Read them as a follower does."""
    reader = JournalReader(Position("builds-events-0"))
    for offset, body in enumerate(records):
        verdict, record = reader.classify(offset, body)
        replay.take(Judged(offset, verdict, record, reader.position))


def test_the_newer_build_reads_what_the_older_wrote() -> None:
    """Through both steps; digests of states of the older form are not held against it."""
    replay = ColdReplay(app_new.app)
    follow(replay, records_of(app_old.app, 3, 4))
    assert replay.fold.states[0]["a"] == app_new.Box(content=7, fills=2)
    assert replay.state is not None
    assert (replay.state.agreement.compared, replay.state.agreement.foreign) == (0, 2)


def test_each_build_agrees_with_itself() -> None:
    """Digests are compared where the form of states is the same."""
    for app in (app_old.app, app_new.app):
        replay = ColdReplay(app)
        follow(replay, records_of(app, 3, 4))
        assert replay.state is not None
        assert (replay.state.agreement.compared, replay.state.agreement.foreign) == (2, 0)


def test_the_older_build_stops_before_what_it_does_not_know() -> None:
    """It names type and place, and its state is that of the last batch that it knew all of."""
    older, newer = records_of(app_old.app, 3), Leader(app_new.app)
    replay = ColdReplay(app_old.app)
    follow(replay, older)
    batch = newer.decide(Fill(box="a", amount=4), Fill(box="b", amount=5))
    assert replay.state is not None
    with pytest.raises(UnknownToBuild, match=r"^here: event type builds\.v1\.Filled3 is not known to app `builds`"):
        replay.state.evolve(batch, "here")
    assert replay.fold.states[0] == {"a": app_old.Box(content=3)}
    assert (len(replay.state.window), replay.state.recorded_at_us) == (1, 1)


def test_a_batch_of_known_and_unknown_types_is_not_half_applied() -> None:
    """The known ones stand before the unknown one, and are not applied either."""
    known, unknown = Leader(app_old.app), Leader(app_new.app)
    batch, other = known.decide(Fill(box="a", amount=1)), unknown.decide(Fill(box="a", amount=1))
    batch.event_types.extend(other.event_types)
    batch.event_type_indexes.append(1)
    batch.events.extend(other.events)
    batch.event_counts[0] = 2
    replay = ColdReplay(app_old.app)
    follow(replay, known.records[:1])
    assert replay.state is not None
    with pytest.raises(UnknownToBuild, match="Filled3"):
        replay.state.evolve(batch, "here")
    assert replay.fold.states[0] == {}


@pytest.mark.parametrize("path", golden.histories(GOLDEN), ids=lambda path: path.stem)
def test_histories_of_all_builds_are_replayed_by_the_newest(path: Path) -> None:
    """Whatever type their day wrote."""
    golden.check(app_new.app, path)
