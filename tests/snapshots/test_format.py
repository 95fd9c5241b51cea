"""A snapshot gives back what was put in, or says why not."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.replica.slices import SLICE_BYTES, Unfit
from bennu.replica.state import ReplicaState
from bennu.replica.window import ReplyWindow
from bennu.snapshots import format as snapshot_format
from bennu.snapshots.format import Draft, Header, Slices, decode_header, digest_of
from tests.snapshots.replicas import BEGAN_US, INPUT, Bank, content, new_state, replica

SEEDS = range(20261125, 20261125 + 6)


def taken(seed: int) -> tuple[Bank, ReplicaState, Draft]:
    """A bank, a replica of it, and the snapshot of that."""

    async def work() -> tuple[Bank, ReplicaState, Draft]:
        log = MemoryLog(MemoryBroker())
        bank = Bank(log, seed=seed)
        await bank.begins()
        await bank.writes(40)
        state, position = await replica(log)
        return bank, state, Draft(state, position, created_at_us=BEGAN_US)

    return asyncio.run(work())


def chunks_of(draft: Draft) -> list[bytes]:
    return [chunk for chunk in draft.chunks() if chunk is not None]


def loaded(header: Header, chunks: list[bytes]) -> ReplicaState:
    """A new replica, from these."""
    state, slices = new_state(), Slices(header)
    load = state.load(header.forms)
    for chunk in chunks:
        for piece in slices.of(chunk):
            load(piece)
    slices.end()
    return state


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small that slices lie across them."""
    monkeypatch.setattr(snapshot_format, "CHUNK_BYTES", 1000)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_put_in_comes_out(seed: int, small_chunks: None) -> None:
    """States, positions, cursors, time and replies, byte for byte; and what is forgotten stays forgotten."""
    print(f"seed {seed}")
    bank, state, draft = taken(seed)
    chunks = chunks_of(draft)
    found = loaded(draft.header(), chunks)
    assert len(chunks) > 3
    assert content(found) == content(state)
    assert [found.window.get(i) for i in bank.ids] == [state.window.get(i) for i in bank.ids]
    assert [found.window.forgotten(i) for i in bank.ids] == [state.window.forgotten(i) for i in bank.ids]
    assert any(map(state.window.forgotten, bank.ids)), "nothing was forgotten, so nothing is shown"
    assert found.input_offset(INPUT) == len(bank.ids)
    assert found.sources == state.sources
    assert found.recorded_at_us == state.recorded_at_us


def test_a_header_is_what_was_said() -> None:
    """It survives being written, and names where, what and by whom."""
    _, _, draft = taken(1)
    chunks = chunks_of(draft)
    header = draft.header()
    found = decode_header(header.encode())
    assert found == header
    assert (found.app, found.topic, found.partition, found.partitions) == ("bank", "bank-events-0", 0, 1)
    assert found.position.batch_no == 40
    assert found.chunks == list(map(digest_of, chunks))
    assert found.size == sum(map(len, chunks))


def test_a_bit_that_flipped_is_found_in_whatever_chunk(small_chunks: None) -> None:
    """Before anything of that chunk is loaded."""
    _, _, draft = taken(2)
    chunks = chunks_of(draft)
    for number, chunk in enumerate(chunks):
        flipped = bytearray(chunk)
        flipped[len(chunk) // 2] ^= 1 << number % 8
        with pytest.raises(Unfit, match="a chunk was changed since"):
            loaded(draft.header(), [*chunks[:number], bytes(flipped), *chunks[number + 1 :]])


def test_a_bit_that_flipped_in_the_header_is_found() -> None:
    """Whichever it is."""
    _, _, draft = taken(3)
    chunks_of(draft)
    raw = draft.header().encode()
    for place in range(len(raw)):
        flipped = bytearray(raw)
        flipped[place] ^= 1
        with pytest.raises(Unfit):
            decode_header(bytes(flipped))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda chunks: chunks[:-1], "it is truncated"),
        (lambda chunks: [], "it is truncated"),
        (lambda chunks: [*chunks, b"more"], "more chunks than its header says"),
        (lambda chunks: [chunks[0], *chunks[2:]], "not the next one"),
        (lambda chunks: [chunks[1], chunks[0], *chunks[2:]], "not the next one"),
    ],
)
def test_chunks_that_are_missing_or_in_disorder_are_found(
    spoil: Callable[[list[bytes]], list[bytes]], said: str, small_chunks: None
) -> None:
    """The header says which there are, and in which order."""
    _, _, draft = taken(4)
    chunks = chunks_of(draft)
    with pytest.raises(Unfit, match=said):
        loaded(draft.header(), spoil(chunks))


@pytest.mark.parametrize(
    "raw",
    [
        None,
        "text",
        7,
        b"",
        b"\x81\xa1\xff\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\x82\xaeformat_version\x01\xa1a" + b"\x91" * 9999,
    ],
)
def test_a_header_that_is_none_is_passed_over(raw: object) -> None:
    """Whatever Postgres gives, a process that starts does not end there."""
    with pytest.raises(Unfit, match="its header"):
        decode_header(raw)


def test_another_format_is_passed_over() -> None:
    """Also one that this version can't even decode."""
    raw = msgspec.msgpack.encode({"format_version": 2, "whatever": [1]})
    with pytest.raises(Unfit, match="it has format 2"):
        decode_header(raw)


@given(
    st.lists(
        st.tuples(st.integers(0, 10**9), st.lists(st.tuples(st.uuids(version=4), st.binary(max_size=40)), max_size=9)),
        max_size=40,
    ),
    st.integers(0, 30),
)
def test_a_window_goes_on_as_if_nothing_had_been(
    batches: list[tuple[int, list[tuple[object, bytes]]]], cut: int
) -> None:
    """One that was stored and loaded half-way keeps, evicts and forgets the same from then on."""
    window = ReplyWindow()
    window.count, window.age_us = 20, 10**10
    now_us, ids = BEGAN_US, list[str]()
    other: ReplyWindow | None = None
    for number, (passed_us, entries) in enumerate(batches):
        if number == cut:
            other = ReplyWindow()
            load = other.load()
            for piece in window.dump():
                load(piece)
        now_us += passed_us
        made = f"{(now_us + 7 * passed_us) // 1000:012x}"
        fresh = [f"{made[:8]}-{made[8:]}-7{str(uuid)[15:]}" for uuid, _ in entries]
        ids += fresh
        for one in filter(None, (window, other)):
            one.add_batch(fresh, [reply for _, reply in entries])
            one.end_batch(now_us)
    if other is not None:
        assert list(other.dump()) == list(window.dump())
        assert [other.forgotten(i) for i in ids] == [window.forgotten(i) for i in ids]
        assert [other.get(i) for i in ids if i in window._replies] == [
            window.get(i) for i in ids if i in window._replies
        ]


def test_slices_are_little_work() -> None:
    """A batch as large as they come is cut, so that the loop is not kept from others."""
    window = ReplyWindow()
    window.count, window.age_us = 10**6, 10**10
    window.add_batch([f"id {n}" for n in range(8_192)], [bytes(100)] * 8_192)
    window.end_batch(1)
    sizes = [len(piece) for piece in window.dump()]
    assert len(sizes) > 8
    assert max(sizes) < 2 * SLICE_BYTES
