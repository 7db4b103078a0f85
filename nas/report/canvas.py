"""Shapes of charts as SVG text.

`searchspace.svg` has such for networks, but importing it loads torch, which `nas rank` must not.

What a shape looks like is said by its class, in light and in dark mode. Coordinates are in pixels from the top left.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from nas.terminal import plain

FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue','DejaVu Sans',Arial,sans-serif"
# Class: fill on a light page, fill on a dark one.
FILLS = {
    "page": ("#ffffff", "#0d1117"),
    "title": ("#1f2328", "#e6edf3"),
    "label": ("#1f2328", "#e6edf3"),
    "tick": ("#57606a", "#9da7b3"),
    "dot": ("#4c8dd6", "#4c8dd6"),
    "early": ("#c4ccd4", "#545d68"),
    "front-dot": ("#d2604a", "#e8795f"),
    "bar": ("#4c8dd6", "#4c8dd6"),
    "faint-bar": ("#b7cdea", "#2b4a70"),
    "chance": ("#d2604a", "#e8795f"),
    "limit-label": ("#9a3412", "#fdba74"),
    "empty": ("#f0f2f4", "#161b22"),
    **{f"below{step}": colours for step, colours in enumerate(
        (("#fbe9d9", "#3b2a1a"), ("#f5cda6", "#5c3a17"), ("#eeae70", "#834f18"), ("#e0913a", "#b06a1e")), 1)},
    **{f"above{step}": colours for step, colours in enumerate(
        (("#deebf7", "#1a2c40"), ("#b7d2ee", "#1f4468"), ("#86b4e2", "#295f94"), ("#4c8dd6", "#3579bd")), 1)},
    "level": ("#f6f7f8", "#21262d"),
}  # fmt: skip
STROKES = {
    "grid": ("#eaeef2", "#21262d"),
    "axis": ("#8c959f", "#6e7781"),
    "front": ("#d2604a", "#e8795f"),
    "best": ("#4c8dd6", "#4c8dd6"),
    "limit": ("#9a3412", "#fdba74"),
    "equal": ("#afb8c1", "#57606a"),
}
SIZES = {"title": "16px;font-weight:600", "label": "13px", "tick": "11px", "limit-label": "11px"}


class Canvas:
    """A picture that grows shape by shape, with its title and a text alternative for those who cannot see it."""

    def __init__(self, width: float, height: float, title: str, alternative: str) -> None:
        size = f'width="{short(width)}" height="{short(height)}"'
        self._body: list[str] = []
        self._head = [
            f'<svg xmlns="http://www.w3.org/2000/svg" version="1.1" class="chart" role="img" {size} '
            f'viewBox="0 0 {short(width)} {short(height)}">',
            f"<title>{_text(title)}</title>",
            f"<desc>{_text(alternative)}</desc>",
        ]
        self._size = size

    def text(self, x: float, y: float, words: str, kind: str, anchor: str = "start") -> None:
        place = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self._body.append(f'<text class="{kind}" x="{short(x)}" y="{short(y)}"{place}>{_text(words)}</text>')

    def upward_text(self, x: float, y: float, words: str, kind: str) -> None:
        """Text that reads from bottom to top, its middle at (x, y)."""
        place = f'transform="translate({short(x)} {short(y)}) rotate(-90)" text-anchor="middle"'
        self._body.append(f'<text class="{kind}" {place}>{_text(words)}</text>')

    def line(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """A line through the points; only the class's stroke is drawn."""
        joined = " ".join(f"{short(x)},{short(y)}" for x, y in points)
        self._body.append(f'<polyline class="{kind}" points="{joined}"/>')

    def dot(self, x: float, y: float, radius: float, kind: str, words: str) -> None:
        """A dot; `words` are shown under the pointer."""
        place = f'cx="{short(x)}" cy="{short(y)}" r="{short(radius)}"'
        self._body.append(f'<circle class="{kind}" {place}><title>{_text(words)}</title></circle>')

    def rect(self, x: float, y: float, width: float, height: float, kind: str, words: str = "") -> None:
        size = f'width="{short(width)}" height="{short(height)}"'
        inside = f"><title>{_text(words)}</title></rect>" if words else "/>"
        self._body.append(f'<rect class="{kind}" x="{short(x)}" y="{short(y)}" {size}{inside}')

    def document(self) -> str:
        """The picture, complete in itself: the colours it uses are in it."""
        used = set(re.findall(r'class="([\w-]+)"', "\n".join(self._body))) | {"page"}
        page = f'<rect class="page" {self._size}/>'
        return "\n".join([*self._head, f"<style>{_style(used)}</style>", page, *self._body, "</svg>", ""])


def short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def _text(words: str) -> str:
    """Text that XML may hold: what is not printable is spelled out."""
    return escape(plain(words))


def _style(used: set[str]) -> str:
    fonts = [f".chart .{name}{{font-size:{size}}}" for name, size in SIZES.items() if name in used]
    shapes = [
        f".chart text{{font-family:{FONT}}}.chart polyline{{fill:none}}.chart .limit{{stroke-dasharray:6 4}}"
        ".chart .front,.chart .best{stroke-width:2}"
    ]
    dark = ["@media(prefers-color-scheme:dark){", *_colours(used, 1), "}"]
    return "".join([*shapes, *fonts, *_colours(used, 0), *dark])


def _colours(used: set[str], page: int) -> list[str]:
    fills = [f".chart .{name}{{fill:{colours[page]}}}" for name, colours in FILLS.items() if name in used]
    return fills + [f".chart .{name}{{stroke:{colours[page]}}}" for name, colours in STROKES.items() if name in used]
