"""Memory in large pages: what is moved is our own, in whole pages, and says afterwards what it said before."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bennu.ops import pages
from bennu.ops.pages import LARGE_BYTES, Growth, Region, large_pages

SIZE = 64 * 1024 * 1024
SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not SWITCH.exists() or "[never]" in SWITCH.read_text(),
    reason="this machine gives no large pages",
)


@pytest.fixture(autouse=True)
def growth() -> Growth:
    """That has moved what was there before the test.  Linux before 6.1 refuses."""
    found, grown = pages.GROWTH, bytearray(SIZE)
    found._moved_bytes = 0
    found.move()
    if not large_bytes():
        pytest.skip("this kernel moves nothing")
    del grown
    found._moved_bytes = pages._resident_bytes()
    return found


def large_bytes() -> int:
    """Of this process, that lie in large pages."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("AnonHugePages")).split()[1]) * 1024


def filled() -> bytearray:
    """Memory that is there, byte for byte."""
    return bytearray(bytes(range(256)) * (SIZE // 256))


def test_what_grew_is_moved_and_says_the_same(growth: Growth) -> None:
    """And is not moved again."""
    before = large_bytes()
    grown = filled()
    assert growth.move() >= SIZE - 2 * LARGE_BYTES
    assert large_bytes() - before >= SIZE // 2
    assert grown == filled()
    assert growth.move() == 0


def test_what_was_given_back_and_grew_again_is_moved(growth: Growth) -> None:
    """A replica that drops its memory and begins anew has it in small pages, though the process is no larger."""
    grown = filled()
    growth.move()
    del grown
    assert growth.move() == 0
    grown = filled()
    assert growth.move() >= SIZE - 2 * LARGE_BYTES
    del grown


def test_what_grew_little_is_left_alone(growth: Growth) -> None:
    """It would not be worth the work."""
    grown = bytearray(pages.GROWN_BYTES // 4)
    assert growth.move() == 0
    del grown


def test_while_it_grows_it_is_moved_when_it_has_doubled(growth: Growth) -> None:
    """Else what is moved again and again would delay what makes it grow."""
    growth._moved_bytes = pages._resident_bytes()
    grown = filled()
    assert growth.move(times=1 + 2 * SIZE / growth._moved_bytes) == 0
    assert growth.move(times=1 + SIZE / 2 / growth._moved_bytes) > 0
    del grown


def test_a_block_moves_what_there_is(growth: Growth) -> None:
    """While its work goes on."""
    grown = filled()
    before = large_bytes()

    async def work() -> None:
        answers = iter([False, True])
        async with large_pages(lambda: next(answers)):
            moving = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.wait(moving)

    asyncio.run(work())
    assert large_bytes() - before >= SIZE // 2
    assert grown == filled()


def test_once_it_is_over_nothing_is_moved_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader's callers are not to wait for it; what came before is moved all the same."""
    moves: list[float] = []
    answers = iter([False, False, True])
    monkeypatch.setattr(pages, "LOOK_S", 0.0)
    monkeypatch.setattr(Growth, "move", lambda _, times=1: moves.append(times))

    async def work() -> None:
        async with large_pages(lambda: next(answers)):
            moving = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.wait(moving)

    asyncio.run(work())
    assert moves == [pages.GROWN_TIMES, pages.GROWN_TIMES, 1]


def test_a_process_that_may_not_see_its_memory_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a container that hides it."""
    monkeypatch.setattr(pages, "_MAPS", tmp_path / "smaps")
    monkeypatch.setattr(pages.GROWTH, "_moved_bytes", 0)
    done: list[bool] = []

    async def work() -> None:
        async with large_pages(lambda: False):
            await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
            done.append(True)

    with capture_logs() as logged:
        asyncio.run(work())
    assert done == [True]
    assert [line["event"] for line in logged] == ["memory stays in small pages"]
    assert str(tmp_path) in logged[0]["reason"]


def test_where_the_operator_says_never_nothing_is_moved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The kernel would do it all the same."""
    (switch := tmp_path / "enabled").write_text("always madvise [never]\n")
    monkeypatch.setattr(pages, "_SWITCH", switch)
    monkeypatch.setattr(Growth, "move", lambda *_: pytest.fail("moved"))

    async def work() -> int:
        async with large_pages(lambda: False):
            return len(asyncio.all_tasks())

    assert asyncio.run(work()) == 1


def test_only_whole_pages_of_great_regions_of_our_own_are_moved() -> None:
    """No file's, no main stack, nothing that can't be written or is shared, and no part of a page at either end."""
    mappings = [
        "00400000-02400000 rw-p 00000000 08:01 1234  /usr/bin/python",
        "02d00000-04700000 rw-p 00000000 00:00 0 [heap]",
        "06000000-08800000 r--p 00000000 00:00 0",
        "09000000-09800000 rw-p 00000000 00:00 0",
        "0a000000-0c400000 rw-s 00000000 00:00 0",
        "0d000000-0f800000 rw-p 00000000 00:00 0 [stack]",
    ]
    assert list(pages._own_regions(smaps(mappings, 24_000))) == [Region(0x02E00000, 0x04600000)]


def test_what_is_mostly_not_there_is_left_alone() -> None:
    """Moving it would fill it: a library may keep addresses by the gigabyte."""
    region = "10000000-20000000 rw-p 00000000 00:00 0"
    assert list(pages._own_regions(smaps([region], 100_000))) == []
    assert list(pages._own_regions(smaps([region], 240_000))) == [Region(0x10000000, 0x20000000)]


def smaps(mappings: Sequence[str], there_kb: int) -> str:
    """As Linux tells them, as far as it matters here."""
    told = f"Size: 999 kB\nKernelPageSize: 4 kB\nRss: {there_kb:15} kB\nPss: 7 kB\n"
    return "".join(f"{each}\n{told}" for each in mappings)
