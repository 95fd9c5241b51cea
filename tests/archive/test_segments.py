"""What is archived stays readable after a kill at any byte, and a spoilt bit anywhere is found and named."""

from pathlib import Path

import pytest

from bennu.archive.folder import ENDS, OPEN, SEALED, Archive
from bennu.archive.verify import verify, verify_topic
from bennu.archive.writer import held
from bennu.errors import BadSettings, RecordBroken
from tests.archive.files import TOPIC, all_of, archive, record, records, segment_file, writer


def test_reading_begins_at_any_offset_and_crosses_segments(tmp_path: Path) -> None:
    """A reader gets exactly what was archived, from the offset it asks for, however it is cut into segments."""
    found = archive(tmp_path, (records(at, at + 3) for at in range(0, 30, 3)), segment_bytes=150)
    assert len(found.segments(TOPIC)) > 3
    assert found.bounds(TOPIC) == (0, 30)
    for start in range(31):
        assert all_of(found, start) == records(start, 30)


def test_an_archiver_goes_on_after_a_kill_at_any_byte_of_the_last_record(tmp_path: Path) -> None:
    """What was written and not archived yet, whole or torn, is written again; what is archived stays."""
    archive(tmp_path, [records(0, 3)])
    path, ends = segment_file(tmp_path, OPEN), (tmp_path / ENDS).read_bytes()
    before = path.stat().st_size
    one = writer(tmp_path)
    one.append(records(3, 4))
    one.close()
    whole = path.read_bytes()
    for size in range(before, len(whole) + 1):
        path.write_bytes(whole[:size])
        (tmp_path / ENDS).write_bytes(ends)
        assert all_of(Archive(tmp_path), 0) == records(0, 3)
        one = writer(tmp_path)
        one.close()
        assert one.next_offset == 3
        assert path.read_bytes() == whole[:size]
        assert all_of(archive(tmp_path, [[record(3), record(4)]]), 0) == records(0, 5)


def test_an_archiver_goes_on_after_a_kill_at_any_byte_of_a_header(tmp_path: Path) -> None:
    """A segment of which nothing is archived is begun anew."""
    archive(tmp_path, [records(0, 1)])
    one = writer(tmp_path, segment_bytes=1)
    one.seal_if_due()
    one.append(records(1, 2))
    one.close()
    path, ends = segment_file(tmp_path, OPEN), (tmp_path / ENDS).read_bytes()
    whole = path.read_bytes()
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        (tmp_path / ENDS).write_bytes(ends)
        assert all_of(Archive(tmp_path), 0) == records(0, 1)
        one = writer(tmp_path)
        one.close()
        assert one.next_offset == 1
        assert path.read_bytes() == whole[:size]
        (tmp_path / ENDS).write_bytes(ends)
        assert all_of(archive(tmp_path, [records(1, 3)]), 0) == records(0, 3)


def test_an_archiver_goes_on_after_a_kill_at_any_byte_of_a_footer(tmp_path: Path) -> None:
    """Sealing that was interrupted is done again."""
    archive(tmp_path, [records(0, 2)])
    unsealed = segment_file(tmp_path, OPEN).stat().st_size
    writer(tmp_path, segment_bytes=1).seal_if_due()
    sealed = segment_file(tmp_path, SEALED)
    whole = sealed.read_bytes()
    for size in range(unsealed, len(whole) + 1):
        sealed.rename(sealed.with_suffix(OPEN)).write_bytes(whole[:size])
        one = writer(tmp_path, segment_bytes=1)
        assert one.next_offset == 2
        one.seal_if_due()
        assert sealed.read_bytes() == whole


def test_what_is_archived_and_cut_off_is_named(tmp_path: Path) -> None:
    """An archiver does not take the loss of archived records for a torn end, at whichever byte they are cut."""
    found = archive(tmp_path, [records(0, 3)])
    path = segment_file(tmp_path, OPEN)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        for look in (lambda: writer(tmp_path), lambda: verify_topic(found, TOPIC), lambda: all_of(found, 0)):
            with pytest.raises(RecordBroken, match=path.name):
                look()
    path.unlink()
    with pytest.raises(RecordBroken, match=TOPIC):
        writer(tmp_path)
    with pytest.raises(RecordBroken, match=TOPIC):
        verify_topic(found, TOPIC)


def test_spoilt_ends_are_named(tmp_path: Path) -> None:
    """The file that says how far the archive goes is under a checksum too."""
    found = archive(tmp_path, [records(0, 3)])
    whole = (tmp_path / ENDS).read_bytes()
    for place in range(len(whole)):
        spoilt = bytearray(whole)
        spoilt[place] ^= 1
        (tmp_path / ENDS).write_bytes(spoilt)
        with pytest.raises(RecordBroken, match=str(tmp_path / ENDS)):
            found.ends()


@pytest.mark.parametrize("content", [b"", b"5", b"[]", b"[1, 2]", b'[{"a": "b"}, ""]', b"[5, 6, 7]", b"[" * 9999])
def test_ends_of_another_form_are_named(tmp_path: Path, content: bytes) -> None:
    """Whatever stands there instead."""
    (tmp_path / ENDS).write_bytes(content)
    with pytest.raises(RecordBroken, match=f"{tmp_path / ENDS}: "):
        Archive(tmp_path).ends()


@pytest.mark.parametrize("segment_bytes", [1, 1 << 20])
def test_ends_that_were_lost_are_named_and_nothing_is_taken_for_empty(tmp_path: Path, segment_bytes: int) -> None:
    """Whoever took the segments for what a killed archiver had left behind would delete all that is archived."""
    found = archive(tmp_path, [[one] for one in records(0, 3)], segment_bytes=segment_bytes)
    (tmp_path / ENDS).unlink()
    before = {path: path.read_bytes() for path in (tmp_path / TOPIC).iterdir()}
    for look in (found.topics, lambda: verify(found), lambda: found.bounds(TOPIC), lambda: writer(tmp_path)):
        with pytest.raises(RecordBroken, match=rf"{tmp_path / ENDS} is lost, but there are segments of {TOPIC}"):
            look()
    assert {path: path.read_bytes() for path in (tmp_path / TOPIC).iterdir()} == before


@pytest.mark.parametrize("end", [3, 4])
def test_what_stands_behind_ends_that_are_too_old_stays(tmp_path: Path, end: int) -> None:
    """It may be in no log any more, so it is not cut off before its successor is at hand; nor is it sealed in."""
    archive(tmp_path, [records(0, 2), records(2, 3)], segment_bytes=1)
    found = archive(tmp_path, [records(3, 5)], segment_bytes=1)
    before = {path: path.read_bytes() for path in (tmp_path / TOPIC).iterdir()}
    found.write_ends({TOPIC: end})
    one = writer(tmp_path, segment_bytes=1)
    one.seal_if_due()
    one.close()
    assert {path: path.read_bytes() for path in (tmp_path / TOPIC).iterdir()} == before


@pytest.mark.parametrize("name", ["7.segment", "\N{SUPERSCRIPT TWO}.segment", ".segment", f"{1:021}.open", "-1.open"])
def test_a_strangers_file_among_the_segments_is_passed_over(tmp_path: Path, name: str) -> None:
    """An archiver's names are of one form, and nothing else is read."""
    found = archive(tmp_path, [records(0, 3)])
    (tmp_path / TOPIC / name).write_bytes(b"?")
    (tmp_path / TOPIC / f"{2:020}.segment").mkdir()
    assert verify_topic(found, TOPIC).records == 3
    assert all_of(found, 0) == records(0, 3)
    assert all_of(archive(tmp_path, [records(3, 4)]), 0) == records(0, 4)


@pytest.mark.parametrize("suffix", [OPEN, SEALED])
def test_a_flipped_bit_anywhere_is_found_and_named(tmp_path: Path, suffix: str) -> None:
    """No byte of a segment can change unnoticed, and the error names the file; an archiver does not go on there."""
    found = archive(tmp_path, [records(0, 4)], segment_bytes=1)
    if suffix == SEALED:
        writer(tmp_path, segment_bytes=1).seal_if_due()
    path = segment_file(tmp_path, suffix)
    whole = path.read_bytes()
    assert verify_topic(found, TOPIC).records == 4
    for place in range(len(whole)):
        spoilt = bytearray(whole)
        spoilt[place] ^= 1 << place % 8
        path.write_bytes(spoilt)
        with pytest.raises(RecordBroken, match=path.name):
            verify_topic(found, TOPIC)
        with pytest.raises(RecordBroken, match=path.name):
            writer(tmp_path)
        assert path.read_bytes() == spoilt


def test_a_broken_record_is_named_by_its_offset_and_never_stepped_over(tmp_path: Path) -> None:
    """A reader gets what comes before a broken record, and then the error."""
    found = archive(tmp_path, [records(0, 5)])
    path = segment_file(tmp_path, OPEN)
    path.write_bytes(path.read_bytes().replace(b"record 3", b"record X"))
    chunks = found.read(TOPIC, 0)
    with pytest.raises(RecordBroken, match=r"\.open, offset 3: "):
        list(chunks)


def test_a_missing_segment_is_named(tmp_path: Path) -> None:
    """A gap between two segments is an error that names its place."""
    found = archive(tmp_path, (records(at, at + 1) for at in range(4)), segment_bytes=1)
    (tmp_path / TOPIC / f"{1:020}.segment").unlink()
    with pytest.raises(RecordBroken, match="offset 1: the segment ends here, and the one that goes on is missing"):
        all_of(found, 0)
    assert all_of(found, 2) == records(2, 4)


def test_a_second_archiver_on_a_folder_is_refused(tmp_path: Path) -> None:
    """Two would spoil each other's segments; when the first has ended, another may go on."""
    with held(tmp_path), pytest.raises(BadSettings, match="another archiver"), held(tmp_path):
        pass
    with held(tmp_path):
        pass
