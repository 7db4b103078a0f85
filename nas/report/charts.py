"""Charts as SVG text: points and lines between two axes, bars, a heat map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.report.axes import Axis
from nas.report.canvas import Canvas

WIDTH, HEIGHT = 720, 440
LEFT, RIGHT, TOP, BOTTOM = 76, 24, 64, 60  # around the plot
BAR, LABELS, CELL = 24, 230, 40  # height of a bar's row, width of its names, height of a row of a heat map
CHARACTER = 7.2  # pixels that a letter of 11 or 13 takes, at most, in common fonts
SHADES = 4  # of either colour of a heat map


@dataclass(frozen=True)
class Dot:
    """A point at (x, y) in the axes' units; `words` name it under the pointer."""

    x: float
    y: float
    kind: str
    words: str


@dataclass(frozen=True)
class Bar:
    """A named share, 0 to 1, and the mark up to which chance alone may reach."""

    name: str
    share: float
    chance: float
    words: str


@dataclass(frozen=True)
class Cell:
    """A number of a heat map, as text, and how many trials it stands for."""

    value: float
    text: str
    words: str


def plot(
    title: str,
    alternative: str,
    x: Axis,
    y: Axis,
    dots: Sequence[Dot],
    lines: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    limits: Mapping[str, float] | None = None,
    legend: Sequence[tuple[str, str]] = (),
) -> str:
    """Dots and lines between two axes.

    `lines` are points by the class that colours them, `limits` upright lines by their names, `legend` pairs of a dot's
    class and what it stands for.
    """
    canvas = Canvas(WIDTH, HEIGHT, title, alternative)
    canvas.text(LEFT, 26, title, "title")
    _frame(canvas, x, y)
    for name, value in (limits or {}).items():
        _limit(canvas, name, x, value)
    for kind, points in (lines or {}).items():
        canvas.line([_at(x, y, *point) for point in points], kind)
    for dot in dots:
        canvas.dot(*_at(x, y, dot.x, dot.y), 4.5 if dot.kind == "front-dot" else 3.5, dot.kind, dot.words)
    at, used = float(LEFT), {dot.kind for dot in dots}
    for kind, words in legend:
        if kind not in used:
            continue
        canvas.dot(at + 4, 44, 4, kind, words)
        canvas.text(at + 14, 48, words, "tick")
        at += 34 + CHARACTER * len(words)
    return canvas.document()


def _at(x: Axis, y: Axis, across: float, up: float) -> tuple[float, float]:
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    return LEFT + width * x.place(across), HEIGHT - BOTTOM - height * y.place(up)


def _frame(canvas: Canvas, x: Axis, y: Axis) -> None:
    for mark in y.marks():
        _, height = _at(x, y, x.low, mark)
        canvas.line([(LEFT, height), (WIDTH - RIGHT, height)], "grid")
        canvas.text(LEFT - 8, height + 4, y.show(mark), "tick", "end")
    for mark in x.marks():
        across, _ = _at(x, y, mark, y.low)
        canvas.line([(across, TOP), (across, HEIGHT - BOTTOM)], "grid")
        canvas.text(across, HEIGHT - BOTTOM + 18, x.show(mark), "tick", "middle")
    canvas.line([(LEFT, TOP), (LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, HEIGHT - BOTTOM)], "axis")
    canvas.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16, x.label, "label", "middle")
    canvas.upward_text(20, (TOP + HEIGHT - BOTTOM) / 2, y.label, "label")


def _limit(canvas: Canvas, name: str, x: Axis, value: float) -> None:
    across = LEFT + (WIDTH - LEFT - RIGHT) * x.place(value)
    canvas.line([(across, TOP), (across, HEIGHT - BOTTOM)], "limit")
    canvas.text(across - 5, HEIGHT - BOTTOM - 8, name, "limit-label", "end")


def bars(title: str, alternative: str, label: str, rows: Sequence[Bar]) -> str:
    """Shares as bars, the first on top; those that chance reaches too are faint, and a mark shows how far it does."""
    canvas = Canvas(WIDTH, TOP + BAR * len(rows) + 30, title, alternative)
    canvas.text(24, 26, title, "title")
    canvas.text(24, 48, label, "tick")
    longest = max((max(row.share, row.chance) for row in rows), default=0.0) or 1.0
    scale = (WIDTH - LABELS - 76) / longest
    for number, row in enumerate(rows):
        y = TOP + BAR * number
        canvas.text(LABELS - 8, y + 13, cut(row.name, LABELS - 30), "label", "end")
        kind = "bar" if row.share > row.chance else "faint-bar"
        canvas.rect(LABELS, y, max(1.0, scale * row.share), 16, kind, row.words)
        canvas.rect(LABELS + scale * row.chance - 1, y - 2, 2, 20, "chance")
        canvas.text(WIDTH - 24, y + 13, f"{row.share:.0%}", "tick", "end")
    return canvas.document()


def heat_map(
    title: str,
    alternative: str,
    label: str,
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Mapping[tuple[str, str], Cell],
) -> str:
    """Numbers at (row, column), blue above 0 and orange below, as strong as their share of the largest."""
    width = max(84.0, min(140.0, (WIDTH - 180) / max(1, len(columns))))
    canvas = Canvas(max(WIDTH, 180 + width * len(columns)), TOP + 24 + CELL * len(rows) + 16, title, alternative)
    canvas.text(24, 26, title, "title")
    canvas.text(24, 48, label, "tick")
    largest = max((abs(cell.value) for cell in cells.values()), default=0.0) or 1.0
    for place, column in enumerate(columns):
        canvas.text(156 + width * (place + 0.5), TOP + 16, cut(column, width), "label", "middle")
    for number, row in enumerate(rows):
        y = TOP + 24 + CELL * number
        canvas.text(148, y + 24, cut(row, 124), "label", "end")
        for place, column in enumerate(columns):
            x = 156 + width * place
            cell = cells.get((row, column))
            if cell is None:
                canvas.rect(x, y, width - 2, CELL - 2, "empty")
                continue
            canvas.rect(x, y, width - 2, CELL - 2, _shade(cell.value / largest), cell.words)
            canvas.text(x + width / 2, y + 24, cell.text, "label", "middle")
    return canvas.document()


def _shade(share: float) -> str:
    step = round(SHADES * abs(share))
    return "level" if step == 0 else f"{'above' if share > 0 else 'below'}{step}"


def cut(text: str, width: float) -> str:
    """The text, its end left out where it is wider than `width` pixels."""
    most = max(2, int(width / CHARACTER))
    return text if len(text) <= most else text[: most - 1] + "…"
