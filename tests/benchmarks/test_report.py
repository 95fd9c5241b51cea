"""The page of `make bench`: figures from the run, words by hand, plots that a browser can read."""

import xml.etree.ElementTree as ET
from typing import Any

import pytest

from benchmarks import report, told
from benchmarks.contest.entrants import everybody
from benchmarks.contest.verdict import verdict
from benchmarks.curves import told as curves
from benchmarks.svg import LEFT, Bar, bars, lines
from bennu.errors import BadSettings

FIGURES = {"commands_per_second": 1_234, "rounds": [1_200, 1_300], "p50_ms": 1.5, "p99_ms": 9.25, "p999_ms": 12.0}


def run() -> dict[str, Any]:
    """As `make bench` keeps it, with the same figures for everybody."""
    entrants = {each.name: dict(FIGURES) for each in everybody()}
    machine = {
        "cpu": "Abacus",
        "cores": 2,
        "memory_gib": 4.0,
        "kernel": "6.1",
        "load": 0.5,
        "versions": {"python": "3.11.7"},
    }
    by_log = {log: {"log": log, "rounds": [1, 2], "gap_p50_ms": 1100.5} for log in ("sqlite", "rocketmq")}
    parts: dict[str, Any] = dict.fromkeys(report.BY_LOG, by_log)
    parts["growth"] = {
        part: [{shown.across: size, **dict.fromkeys(shown.columns, 10 * size)} for size in (1, 10, 100)]
        for part, shown in curves.PLOTS.items()
    }
    return {"machine": machine, "commands": verdict(entrants) | {"entrants": entrants}} | parts


def test_the_page_has_a_place_for_every_section() -> None:
    """And what is written by hand stays, word for word, however often the figures change."""
    page = report.PAGE.read_text()
    sections = told.sections(run())
    once = report.written(page, sections)
    assert report.written(once, sections) == once
    for name in sections:
        assert sections[name].strip() in once
    assert outside(once) == outside(page)


def outside(page: str) -> list[str]:
    """What stands between the sections."""
    return [part.split("<!-- run: ")[0].strip() for part in page.split(report.END)]


def test_a_page_without_a_place_is_refused() -> None:
    """Also one whose section does not end: the rest of the page would be lost."""
    for page in ("words", "<!-- run: commands --> words"):
        with pytest.raises(BadSettings, match="run: commands"):
            report.written(page, {"commands": "1"})


def test_every_plot_is_named_in_the_page_and_is_xml() -> None:
    """The page shows what the run draws."""
    page = report.PAGE.read_text()
    plots = told.plots(run())
    assert plots
    for name, plot in plots.items():
        assert f"(benchmarks/{name}.svg)" in page
        assert ET.fromstring(plot).tag.endswith("svg")  # noqa: S314  our own text


def test_longer_bars_are_of_greater_values() -> None:
    """In proportion, the longest as long as the page allows."""
    plot = ET.fromstring(bars("a < b", [Bar("one", 100, "red"), Bar("two", 25, "blue")]))  # noqa: S314  our own text
    widths = [float(rect.attrib["width"]) for rect in plot.iter() if rect.attrib.get("rx") == "2"]
    assert widths[0] == pytest.approx(4 * widths[1])


def test_higher_points_are_of_greater_values() -> None:
    """By a logarithmic scale: tenfold is as far from ten as ten from one."""
    plot = ET.fromstring(lines("t", {"p": [(1, 1), (2, 10), (3, 100)]}, across="x", up="y"))  # noqa: S314  our own text
    heights = [float(dot.attrib["cy"]) for dot in plot.iter() if dot.tag.endswith("circle")]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.2)
    assert heights[0] > heights[1]


def test_sizes_that_grow_by_factors_are_as_far_apart() -> None:
    """From the first at the left to the last at the right."""
    drawn = lines("t", {"p": [(10, 1), (100, 2), (1000, 3)]}, across="x", up="y", by_factors=True)
    across = [float(dot.attrib["cx"]) for dot in ET.fromstring(drawn).iter() if dot.tag.endswith("circle")]  # noqa: S314  our own text
    assert across[1] - across[0] == pytest.approx(across[2] - across[1], abs=0.2)
    assert across[0] == LEFT


def test_a_figure_that_only_some_rows_have_is_empty_in_the_others() -> None:
    """As memory an account, which is against the fewest."""
    rows = [{"accounts": 10}, {"accounts": 100, "bytes_an_account": 321}]
    table = told.sections({"growth": {"accounts": rows}})["growth-accounts"].splitlines()
    assert table == ["| accounts | bytes an account |", "| --- | --: |", "| 10 |  |", "| 100 | 321 |"]


def test_one_size_alone_is_no_curve() -> None:
    """It has its table, and no plot."""
    part = {"history": [{"commands": 10, "rss_mb": 80.0, "log_mb": 1.0}]}
    assert "growth-history" in told.sections({"growth": part})
    assert told.plots({"growth": part}) == {}


def test_a_goal_that_is_missed_is_said() -> None:
    """As is one that is met."""
    lines_of = told.sections(run())["verdict"].splitlines()
    alone = next(line for line in lines_of if line.startswith("| one command alone"))
    stream = next(line for line in lines_of if line.startswith("| stream, 100 a frame"))
    assert alone.endswith("| yes |")
    assert stream.endswith("| **no** |")


def test_what_is_no_part_is_refused() -> None:
    """With what there is."""
    with pytest.raises(BadSettings, match="there are commands, growth, replay"):
        report.measured(["comands"])
