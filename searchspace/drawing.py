"""An architecture as a picture: an SVG text with one row for each stage, in the order that data passes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, zip_longest

from searchspace.architecture import Architecture
from searchspace.sketch import Sketch, sketch_of
from searchspace.svg import FAMILIES, Svg, fitted, folded
from searchspace.table import StageRow, stage_rows

WIDTH = 900
TOP, INPUT, BOTTOM = 112, 46, 40  # heights of the title with the columns' names, the input, the legend
AXIS, LONGEST, TALLEST = 137, 172, 40  # where the maps are centred, and the sides of the largest, in pixels
TEXT, STRIDE, TEXT_WIDTH = 242, 504, 392  # where words begin, the stride ends, and how wide lines below are
CHANNELS, PIXELS, PARAMS, MACS, SHARE_WIDTH = 566, 626, 650, 776, 100
LINE, PATH = 13, 18  # heights of a line of settings, and of a path of layers
MOST_LINES, MOST_PATHS = 3, 12
NARROWEST = 3  # piece of a map that is cut into its blocks, in pixels


def draw(architecture: Architecture) -> str:
    """The architecture as SVG 1.1, 900 pixels wide and as long as it has stages; the same text for the same network.

    A row shows what a stage is and, as a block, what leaves it: as high as the image's side and as long as its
    channels, both on a square-root scale. Bars show its share of parameters and multiply-adds. The text has its own
    light and dark background, and needs no font, script or file beside it.

    Raises:
        TooLarge, ArchitectureError: as `cost`.
    """
    rows = stage_rows(architecture)
    blocks = [stage.block for stage in architecture.normal().all_stages()]  # normalisation and classifier have none
    entries = [_entry(row, sketch_of(block)) for row, block in zip_longest(rows, blocks)]
    scale = _Scale.of(architecture, rows)
    name = architecture.name or f"network {architecture.digest[:12]}"
    height = TOP + INPUT + sum(entry.height for entry in entries) + BOTTOM
    svg = Svg(WIDTH, height, name, _in_words(architecture, rows))
    _title(svg, architecture, name, scale)
    y = _input(svg, architecture, scale)
    for part, group in groupby(entries, key=lambda entry: entry.row.part):
        top = y
        for entry in group:
            _draw_row(svg, entry, scale, y)
            y += entry.height
        _bracket(svg, part, top, y)
    legend = (
        "Output: as high as the image, as long as its channels (square roots), one piece for each block of the stage."
    )
    svg.text(24, y + 26, f"{legend} Bars: share of the whole.", "small")
    return svg.document()


@dataclass(frozen=True)
class _Entry:
    """A row, its words folded, its branches laid out, and how much height they take."""

    row: StageRow
    settings: list[str]
    sketch: Sketch
    height: int


def _entry(row: StageRow, sketch: Sketch) -> _Entry:
    words = row.settings.split(", ") if row.settings else []
    if sketch.lines:
        words = [word for word in words if not word.endswith(" branches")]
        shown = sketch.cut(MOST_PATHS, TEXT_WIDTH)
        left_out = len(sketch.pills) - len(shown.pills)
        sketch, words = shown, words + ([f"{left_out} more layers"] if left_out else [])
    settings = folded(words, TEXT_WIDTH, 11, MOST_LINES)
    return _Entry(row, settings, sketch, max(50, 36 + LINE * len(settings) + PATH * sketch.lines))


@dataclass(frozen=True)
class _Scale:
    """What is full length, full height and a full bar."""

    channels: int
    resolution: int
    params: int
    macs: int

    @classmethod
    def of(cls, architecture: Architecture, rows: list[StageRow]) -> _Scale:
        return cls(
            max(architecture.channels, *(row.channels for row in rows)),
            max(architecture.resolution, *(row.resolution for row in rows)),
            sum(row.params for row in rows),
            sum(row.macs for row in rows),
        )

    def size(self, channels: int, resolution: int) -> tuple[float, float]:
        """Length and height of what leaves a stage, in pixels."""
        length = LONGEST * math.sqrt(channels / self.channels)
        height = TALLEST * math.sqrt(resolution / self.resolution)
        return max(length, 4.0), max(height, 4.0)


def _title(svg: Svg, architecture: Architecture, name: str, scale: _Scale) -> None:
    side = architecture.resolution
    words = [
        f"{_count(scale.params)} parameters",
        f"{_count(scale.macs)} multiply-adds",
        f"images {architecture.channels} × {side} × {side}",
        f"{architecture.classes} classes",
    ]
    if architecture.drop_path:
        words.append(f"drop path {architecture.drop_path:g}")
    svg.text(24, 40, fitted(name, WIDTH - 48, 24), "title")  # 24 for 22 pixels: bold letters are wider
    svg.text(24, 64, " · ".join(words), "subtitle")
    for x, word, anchor in (
        (AXIS, "output", "middle"),
        (TEXT, "stage", "start"),
        (CHANNELS, "channels", "end"),
        (PIXELS, "pixels", "end"),
        (PARAMS, "parameters", "start"),
        (MACS, "multiply-adds", "start"),
    ):
        svg.text(x, 98, word, "small", anchor)
    svg.line(24, 106, WIDTH - 24, 106, "rule")


def _input(svg: Svg, architecture: Architecture, scale: _Scale) -> int:
    """The image before the first stage; where the next row begins."""
    _map(svg, "input", architecture.channels, architecture.resolution, 1, scale, TOP + 23)
    svg.text(TEXT, TOP + 27, "input", "kind")
    svg.text(CHANNELS, TOP + 27, f"{architecture.channels}", "number", "end")
    svg.text(PIXELS, TOP + 27, f"{architecture.resolution}", "number", "end")
    return TOP + INPUT


def _draw_row(svg: Svg, entry: _Entry, scale: _Scale, y: int) -> None:
    row, middle = entry.row, y + entry.height / 2
    svg.open_group(f"{row.kind}: {row.params:,} parameters, {row.macs:,} multiply-adds for one image")
    svg.line(TEXT, y, WIDTH - 24, y, "rule")
    _map(svg, _family(row.kind), row.channels, row.resolution, row.depth, scale, middle)
    extra = f" × {row.depth}" if row.depth > 1 else ""
    kind = fitted(row.kind.replace("_", " "), 160, 14)
    svg.text(TEXT, y + 20, kind + extra, "kind")
    if row.stride > 1:
        svg.text(STRIDE, y + 20, f"stride {row.stride}", "stride", "end")
    _draw_sketch(svg, entry.sketch, y + 28)
    below = y + 28 + PATH * entry.sketch.lines
    for number, line in enumerate(entry.settings):
        svg.text(TEXT, below + LINE * number + 10, line, "small")
    svg.text(CHANNELS, y + 20, f"{row.channels}", "number", "end")
    svg.text(PIXELS, y + 20, f"{row.resolution}", "number", "end")
    _share(svg, PARAMS, y, row.params, scale.params)
    _share(svg, MACS, y, row.macs, scale.macs)
    svg.close_group()


def _map(svg: Svg, family: str, channels: int, resolution: int, depth: int, scale: _Scale, middle: float) -> None:
    """What leaves a stage, cut by a line between any two of its blocks."""
    length, height = scale.size(channels, resolution)
    left, top = AXIS - length / 2, middle - height / 2
    svg.rect(left, top, length, height, family, rounding=2)
    for number in range(1, depth if length >= NARROWEST * depth else 1):
        x = left + length * number / depth
        svg.line(x, top, x, top + height, "cut")


def _draw_sketch(svg: Svg, sketch: Sketch, top: float) -> None:
    for joint in sketch.joints:
        height1, height2 = (top + PATH * line + 7 for line in (joint.line1, joint.line2))
        svg.line(TEXT + joint.x1, height1, TEXT + joint.x2, height2, "joint")
    for pill in sketch.pills:
        x, y = TEXT + pill.x, top + PATH * pill.line
        svg.rect(x, y, pill.width, 14, "layer-pool" if pill.pools else "layer", rounding=3)
        svg.text(x + pill.width / 2, y + 10.6, pill.text, "tiny", "middle")


def _share(svg: Svg, x: float, y: float, count: int, total: int) -> None:
    svg.text(x, y + 20, _count(count), "number")
    if not count:
        return
    share = count / total
    length = max(SHARE_WIDTH * share, 2)
    svg.text(x + SHARE_WIDTH, y + 20, f"{share:.0%}" if share >= 0.005 else "<1%", "small", "end")
    svg.rect(x, y + 27, SHARE_WIDTH, 6, "track", rounding=3)
    svg.rect(x, y + 27, length, 6, "bar", rounding=min(3, length / 2))


def _bracket(svg: Svg, part: str, top: int, bottom: int) -> None:
    svg.line(42, top + 4, 42, bottom - 4, "bracket")
    svg.upward_text(34, (top + bottom) / 2, part, "part")


def _family(kind: str) -> str:
    """The class that colours a kind; families that are not ours share one colour."""
    if kind.endswith(" norm"):
        return "norm"
    return kind if kind in FAMILIES else "other"


def _count(count: int) -> str:
    """Three digits and a letter: 12.3M."""
    for letter, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size * 0.9995:
            return f"{count / size:.3g}{letter}" if count / size < 999.5 else f"{count / size:.0f}{letter}"
    return f"{count}"


def _in_words(architecture: Architecture, rows: Iterable[StageRow]) -> str:
    """The picture for who cannot see it."""

    def sentences() -> Iterator[str]:
        yield f"Images of {architecture.channels} channels and {architecture.resolution} pixels."
        for row in rows:
            times = f" {row.depth} times" if row.depth > 1 else ""
            stride = f" with stride {row.stride}" if row.stride > 1 else ""
            yield f"{row.part}: {row.kind}{times}{stride} to {row.channels} channels at {row.resolution} pixels,"
            yield f"{_count(row.params)} parameters, {_count(row.macs)} multiply-adds."

    return " ".join(sentences())
