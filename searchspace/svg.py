"""SVG 1.1 as text: shapes whose colours its own style sheet gives, for light and dark pages."""

from __future__ import annotations

import unicodedata
from xml.sax.saxutils import escape

from searchspace.errors import one_line

FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue','DejaVu Sans',Arial,sans-serif"
FAMILIES = {
    "conv": ("#4c8dd6", "#4c8dd6"),
    "pool": ("#a3b1bf", "#7d8a97"),
    "inception": ("#e0913a", "#e0913a"),
    "inception_residual": ("#d2604a", "#d2604a"),
    "residual": ("#4fa86b", "#4fa86b"),
    "dense": ("#9a72cc", "#9a72cc"),
    "mbconv": ("#25a3a3", "#25a3a3"),
    "channel_boost": ("#c9a227", "#c9a227"),
    "norm": ("#c5b8a5", "#8d8271"),
    "classifier": ("#c95f8d", "#c95f8d"),
}
# Class: fill on a light page, fill on a dark one.
FILLS = {
    "page": ("#ffffff", "#0d1117"),
    "title": ("#1f2328", "#e6edf3"),
    "kind": ("#1f2328", "#e6edf3"),
    "number": ("#1f2328", "#e6edf3"),
    "tiny": ("#1f2328", "#e6edf3"),
    "subtitle": ("#57606a", "#9da7b3"),
    "small": ("#57606a", "#9da7b3"),
    "part": ("#57606a", "#9da7b3"),
    "stride": ("#9a3412", "#fdba74"),
    "track": ("#eaeef2", "#21262d"),
    "bar": ("#6e7781", "#8b949e"),
    "input": ("#c4ccd4", "#545d68"),
    "other": ("#6e7f91", "#8494a6"),
    "layer": ("#ffedd5", "#4a2f10"),
    "layer-pool": ("#e3e8ed", "#3a424b"),
}
STROKES = {
    "rule": ("#eaeef2", "#21262d"),
    "bracket": ("#afb8c1", "#57606a"),
    "joint": ("#afb8c1", "#768390"),
    "cut": ("#ffffff", "#0d1117"),
}
SIZES = {"title": "22px;font-weight:600", "kind": "14px;font-weight:600", "subtitle": "13px", "number": "13px",
         "small": "11px", "stride": "11px", "part": "11px;letter-spacing:1px", "tiny": "10px"}  # fmt: skip
WIDE, CAPITAL, OTHER = 1.1, 0.75, 0.6  # widths of characters in font sizes, as wide as common fonts make them


class Svg:
    """A document that grows shape by shape; what a shape looks like is said by its class."""

    def __init__(self, width: float, height: float, title: str, description: str) -> None:
        size = f'width="{_short(width)}" height="{_short(height)}"'
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" version="1.1" class="nas" role="img" {size} '
            f'viewBox="0 0 {_short(width)} {_short(height)}">',
            f"<title>{_plain(title)}</title>",
            f"<desc>{_plain(description)}</desc>",
            f"<style>{_style()}</style>",
            f'<rect class="page" {size}/>',
        ]

    def text(self, x: float, y: float, words: str, kind: str, anchor: str = "start") -> None:
        ends = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self._parts.append(f'<text class="{kind}" x="{_short(x)}" y="{_short(y)}"{ends}>{_plain(words)}</text>')

    def upward_text(self, x: float, y: float, words: str, kind: str) -> None:
        """Text that reads from bottom to top, its middle at (x, y)."""
        place = f'transform="translate({_short(x)} {_short(y)}) rotate(-90)" text-anchor="middle"'
        self._parts.append(f'<text class="{kind}" {place}>{_plain(words)}</text>')

    def rect(self, x: float, y: float, width: float, height: float, kind: str, rounding: float = 0) -> None:
        corners = f' rx="{_short(rounding)}"' if rounding else ""
        size = f'width="{_short(width)}" height="{_short(height)}"'
        self._parts.append(f'<rect class="{kind}" x="{_short(x)}" y="{_short(y)}" {size}{corners}/>')

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        ends = f'x1="{_short(x1)}" y1="{_short(y1)}" x2="{_short(x2)}" y2="{_short(y2)}"'
        self._parts.append(f'<line class="{kind}" {ends}/>')

    def open_group(self, title: str) -> None:
        """Begin a group whose title a browser shows under the pointer."""
        self._parts.append(f"<g><title>{_plain(title)}</title>")

    def close_group(self) -> None:
        self._parts.append("</g>")

    def document(self) -> str:
        return "\n".join([*self._parts, "</svg>", ""])


def width_of(text: str, size: float) -> float:
    """About how many pixels wide a text is; a reader's font is not known here."""
    return size * sum(map(_character, text))


def _character(character: str) -> float:
    if unicodedata.east_asian_width(character) in "WF":
        return WIDE
    return CAPITAL if character.isupper() else OTHER


def fitted(text: str, width: float, size: float) -> str:
    """The text, cut off with an ellipsis where it is wider than `width` pixels."""
    text = one_line(text, 12 * len(text))
    if width_of(text, size) <= width:
        return text
    while text and width_of(text + "…", size) > width:
        text = text[:-1]
    return text + "…"


def folded(items: list[str], width: float, size: float, most: int) -> list[str]:
    """The items on lines of at most `width` pixels; what more than `most` lines would take is left out with dots."""
    lines: list[str] = []
    for item in items:
        joined = f"{lines[-1]}, {item}" if lines else item
        if lines and width_of(joined, size) <= width:
            lines[-1] = joined
        else:
            lines.append(item)
    lines = [fitted(line, width, size) for line in lines]
    return lines if len(lines) <= most else [*lines[: most - 1], fitted(lines[most - 1] + ", …", width, size)]


def _plain(text: str) -> str:
    """Text that XML may hold: what is not printable is spelled out."""
    return escape(one_line(text, 12 * len(text)))


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def _style() -> str:
    fonts = [f".nas text{{font-family:{FONT}}}", *(f".nas .{name}{{font-size:{size}}}" for name, size in SIZES.items())]
    return "".join([*fonts, *_colours(0), "@media(prefers-color-scheme:dark){", *_colours(1), "}"])


def _colours(page: int) -> list[str]:
    fills = [f".nas .{name}{{fill:{colours[page]}}}" for name, colours in (FILLS | FAMILIES).items()]
    return fills + [f".nas .{name}{{stroke:{colours[page]}}}" for name, colours in STROKES.items()]
