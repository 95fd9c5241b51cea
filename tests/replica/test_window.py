"""The window of replies: exact within count and age, honest beyond."""

from hypothesis import given
from hypothesis import strategies as st

from bennu.replica.window import Kept, ReplyWindow

DIGEST = b"d" * 16
OLD, NEWER, NEWEST = (f"0190000{n}-0000-7000-8000-00000000000{n}" for n in range(3))
"""UUIDv7s, a while apart."""
NOW_US = (0x01900003 << 16) * 1000
"""Journaled time by which all of them were made."""
SAME_MS_AS_OLD = OLD[:14] + "7fff-bfff-ffffffffffff"


def window(count: int = 1_000, age_us: int = 10**12) -> ReplyWindow:
    """An empty one of these bounds."""
    found = ReplyWindow()
    found.count, found.age_us = count, age_us
    return found


def add(to: ReplyWindow, at_us: int, *ids: str) -> None:
    """A batch that answers these ids."""
    for command_id in ids:
        to.add(command_id, DIGEST, outcome=0, reply=command_id.encode())
    to.end_batch(NOW_US + at_us)


def test_a_kept_reply_is_what_was_given() -> None:
    """Digest, outcome and bytes come back as they went in, an empty reply too."""
    found = window()
    found.add("a", DIGEST, outcome=2, reply=b"")
    found.end_batch(NOW_US)
    assert found.get("a") == Kept(DIGEST, outcome=2, reply=b"")
    assert found.get("b") is None


def test_a_reply_is_there_before_its_batch_ends() -> None:
    """The second of two equal commands in one batch finds the first."""
    found = window()
    found.add("a", DIGEST, outcome=0, reply=b"reply")
    assert found.get("a") is not None


def test_the_oldest_batch_goes_when_there_are_too_many() -> None:
    """Over the count whole batches go, oldest first, until it holds."""
    found = window(count=3)
    add(found, 1, "a", "b")
    add(found, 2, "c")
    assert len(found) == 3
    add(found, 3, "d")
    assert [command_id for command_id in "abcd" if found.get(command_id)] == ["c", "d"]


def test_a_batch_goes_at_its_age() -> None:
    """By journaled time: kept at exactly the age, gone beyond it, also when a batch without entries comes."""
    found = window(age_us=100)
    add(found, 1_000, "a")
    add(found, 1_100)
    assert found.get("a")
    add(found, 1_101)
    assert found.get("a") is None


def test_a_uuid7_not_newer_than_one_evicted_is_forgotten() -> None:
    """Whether it was answered is not known any more, so it must not be decided; a newer one may be."""
    found = window(count=1)
    assert not found.forgotten(OLD)
    add(found, 1, NEWER)
    add(found, 2, "text")
    assert found.get(NEWER) is None
    assert found.forgotten(OLD)
    assert found.forgotten(NEWER)
    assert found.forgotten(NEWER.upper())
    assert not found.forgotten(NEWEST)
    assert not found.forgotten("any other text")


def test_ids_of_one_millisecond_are_forgotten_together() -> None:
    """The floor is a time, and several ids may share it."""
    found = window(count=1)
    add(found, 1, OLD)
    add(found, 2, "text")
    assert found.forgotten(SAME_MS_AS_OLD)


def test_the_floor_never_sinks() -> None:
    """An older id that is evicted later changes nothing."""
    found = window(count=1)
    for at_us, command_id in enumerate((NEWER, OLD, "text")):
        add(found, at_us, command_id)
    assert found.forgotten(NEWER)


def test_a_fast_clock_shuts_nobody_out() -> None:
    """An evicted id from the future is forgotten itself, but none of the others is until its time has come."""
    found = window(count=1)
    future = _made_at(NOW_US + 50_000_000)
    add(found, 1, future)
    add(found, 2, "text")
    assert found.forgotten(future)
    assert found.forgotten(future.upper())
    assert not found.forgotten(_made_at(NOW_US + 1_000_000))
    add(found, 50_000_000, "more text")
    assert found.forgotten(future)
    assert found.forgotten(_made_at(NOW_US + 1_000_000))


def test_what_only_looks_like_a_uuid7_has_no_time() -> None:
    """Such an id, evicted, must not make all others look old."""
    found = window(count=1)
    add(found, 1, "zzzzzzzz-zzzz-7zzz-zzzz-zzzzzzzzzzzz")
    add(found, 2, "text")
    assert not found.forgotten(OLD)


def _made_at(at_us: int) -> str:
    text = f"{at_us // 1000:012x}"
    return f"{text[:8]}-{text[8:]}-7000-8000-000000000000"


@given(
    st.lists(st.tuples(st.integers(0, 50), st.lists(st.integers(0, 10**9), max_size=4)), max_size=30),
    st.integers(1, 8),
    st.integers(0, 100),
)
def test_replay_keeps_what_the_leader_kept(batches: list[tuple[int, list[int]]], count: int, age_us: int) -> None:
    """Entry by entry on the leader, batch by batch on replay: the same ids stay, and the same floor."""
    leader, replayed = window(count, age_us), window(count, age_us)
    now_us, seen = 0, set[int]()
    for passed_us, drawn in batches:
        now_us += passed_us
        fresh = [number for number in dict.fromkeys(drawn) if number not in seen]
        seen.update(fresh)
        ids = [f"{0x01900000 + n % 6:08x}-0000-7000-8000-{n:012x}" for n in fresh]
        add(leader, now_us, *ids)
        replayed.add_batch(ids, [b"%b%c%b" % (DIGEST, 0, i.encode()) for i in ids])
        replayed.end_batch(NOW_US + now_us)
        assert leader._replies == replayed._replies
        assert (leader.floor, leader._ahead) == (replayed.floor, replayed._ahead)
        assert len(leader) <= count


DRAWN = st.integers(0, 12).map(lambda n: f"{0x0190000F + n % 6:08x}-0000-7000-8000-{n:012x}")
IDS = st.lists(DRAWN | DRAWN.map(str.upper) | st.text("abAB", min_size=1, max_size=2), max_size=5)


@given(st.lists(st.tuples(st.integers(0, 10**8), IDS), max_size=12), st.integers(1, 8), IDS)
def test_new_at_a_glance_is_new(batches: list[tuple[int, list[str]]], count: int, asked: list[str]) -> None:
    """Whatever was answered and evicted: ids that are all new stand once, are not kept, and none was forgotten."""
    found = window(count)
    now_us = 0x0190000F_0000 * 1000 - NOW_US
    for passed_us, ids in batches:
        now_us += passed_us
        add(found, now_us, *(each for each in dict.fromkeys(ids) if found.get(each) is None))
    if found.all_new(asked):
        assert len(set(asked)) == len(asked)
        assert not any(found.get(each) or found.forgotten(each) for each in asked)


def test_what_is_new_is_seen_at_a_glance() -> None:
    """Also once something was evicted, as in a process that has run for long."""
    found = window(count=1)
    add(found, 1, OLD)
    add(found, 2, "text")
    assert found.floor
    assert found.all_new([NEWER, NEWEST])
    for known in ([OLD, NEWER], ["text"], [NEWER, NEWER]):
        assert not found.all_new(known)
