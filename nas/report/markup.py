"""HTML as text in which nothing is unescaped by accident: strings are escaped, markup alone is not."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from nas.terminal import plain


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, *children: str, **attributes: str) -> Markup:
    """An element around its children; a string that is no Markup is text. `class_` is the attribute class."""
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{given}>{''.join(map(safe, children))}</{name}>")


def safe(text: str) -> Markup:
    """The text as HTML that shows it; what is not printable is spelled out."""
    return text if isinstance(text, Markup) else Markup(escape(plain(text)))


def joined(parts: Iterable[str]) -> Markup:
    return Markup("\n".join(map(safe, parts)))


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Markup:
    """A table with a line of headings."""
    lines = [tag("tr", *(tag("td", cell) for cell in row)) for row in rows]
    return tag("table", tag("thead", tag("tr", *(tag("th", cell) for cell in head))), tag("tbody", *lines))


def bullets(items: Iterable[str]) -> Markup:
    return tag("ul", *(tag("li", item) for item in items))
