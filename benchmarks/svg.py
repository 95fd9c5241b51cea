"""Two plots as SVG, made of text: bars by length, and lines over a rate.  They read on light and on dark pages."""

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10
from typing import NamedTuple

WIDTH = 860
ROW = 24
LABELS = 300
NUMBERS = 110
FONT = "font-family='system-ui, sans-serif' font-size='13'"
INK, PALE, PAPER = "#1f2328", "#d0d7de", "#ffffff"
OURS, OTHERS, CEILINGS = "#b5470f", "#54728c", "#a8b4bf"
LINES = ("#b5470f", "#54728c", "#2f7d4f", "#8250df", "#9a6700", "#cf222e")
PLOT_HEIGHT = 300
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 50, 50


class Bar(NamedTuple):
    """A value with its name; the colour says whose it is."""

    name: str
    value: float
    colour: str


def bars(title: str, shown: Sequence[Bar]) -> str:
    """One under another, their lengths in proportion."""
    longest = max(bar.value for bar in shown)
    body = [_text(10, 24, title, weight="bold")]
    for number, bar in enumerate(shown):
        y = 40 + number * ROW
        length = max(1.0, (WIDTH - LABELS - NUMBERS) * bar.value / longest)
        body.append(_text(LABELS - 10, y + 15, bar.name, anchor="end"))
        body.append(
            f"<rect x='{LABELS}' y='{y + 2}' width='{length:.1f}' height='{ROW - 6}' rx='2' fill='{bar.colour}'/>"
        )
        body.append(_text(LABELS + length + 8, y + 15, f"{bar.value:,.0f}"))
    return _document(40 + len(shown) * ROW + 14, body)


def lines(
    title: str, shown: Mapping[str, Sequence[tuple[float, float]]], *, across: str, up: str, by_factors: bool = False
) -> str:
    """Each a name and its points, over a logarithmic scale from bottom to top, and `by_factors` from left to right.

    Values are positive.
    """
    points = [point for each in shown.values() for point in each]
    narrowest, widest = min(x for x, _ in points), max(x for x, _ in points)
    low = floor(log10(min(y for _, y in points)))
    high = max(low + 1, ceil(log10(max(y for _, y in points))))
    wide = WIDTH - LEFT - RIGHT

    def place(x: float, y: float) -> tuple[float, float]:
        part = log10(x / narrowest) / log10(widest / narrowest) if by_factors and x else x / widest
        return LEFT + wide * part, TOP + PLOT_HEIGHT * (high - log10(y)) / (high - low)

    body = [_text(10, 24, title, weight="bold"), _text(10, TOP - 8, up)]
    for power in range(low, high + 1):
        _, y = place(0, 10.0**power)
        body.append(f"<line x1='{LEFT}' y1='{y:.1f}' x2='{LEFT + wide}' y2='{y:.1f}' stroke='{PALE}'/>")
        body.append(_text(LEFT - 8, y + 4, f"{10.0**power:g}", anchor="end"))
    below = TOP + PLOT_HEIGHT + 20
    body += [_text(place(x, 1)[0], below, f"{x:,.0f}", anchor="middle") for x in sorted({x for x, _ in points})]
    body.append(_text(LEFT + wide / 2, below + 20, across, anchor="middle"))
    ends = _apart([place(*each[-1])[1] for each in shown.values()])
    for (name, each), end, colour in zip(shown.items(), ends, LINES, strict=False):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in each))
        body.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>")
        body += [f"<circle cx='{x}' cy='{y}' r='3' fill='{colour}'/>" for x, y in _pairs(path)]
        body.append(_text(LEFT + wide + 10, end + 4, name, colour=colour))
    return _document(TOP + PLOT_HEIGHT + BOTTOM, body)


def _pairs(path: str) -> list[list[str]]:
    return [pair.split(",") for pair in path.split()]


def _apart(heights: Sequence[float]) -> list[float]:
    """The same, moved until no two names lie over one another."""
    found = dict.fromkeys(range(len(heights)), 0.0)
    last = float("-inf")
    for index in sorted(found, key=lambda index: heights[index]):
        last = found[index] = max(heights[index], last + 16)
    return list(found.values())


def _text(x: float, y: float, text: str, **style: str) -> str:
    anchor, weight = style.get("anchor", "start"), style.get("weight", "normal")
    colour = style.get("colour", INK)
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' font-weight='{weight}' fill='{colour}'>"
        f"{escape(text)}</text>"
    )


def _document(height: int, body: Sequence[str]) -> str:
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' {FONT}>"
    paper = f"<rect width='{WIDTH}' height='{height}' rx='6' fill='{PAPER}'/>"
    return "\n".join([head, paper, *body, "</svg>", ""])
