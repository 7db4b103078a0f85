"""Errors about architectures and spaces that a user can mend."""

from __future__ import annotations

from pydantic import ValidationError
from pydantic_core import ErrorDetails


class ArchitectureError(ValueError):
    """An architecture that cannot be read or built: the message says where and what is allowed."""


class TooLarge(ArchitectureError):  # reads as what it says: `except TooLarge`
    """An architecture with more parameters than allowed; building stopped at the limit."""


class SpaceError(ValueError):
    """A choice, space or reference that does not exist."""


MAKE_KNOWN = "a family of your own is made known by --import MODULE or the entry-point group nas.blocks"


def describe_validation(error: ValidationError, shown: int = 3, whole: str = "architecture") -> str:
    """Turn pydantic's report into one short line: `stages.1.block.conv.width: Input should be ...`; `whole` is what a
    fault of no single field is of.
    """
    items = error.errors(include_url=False)
    # A tuple whose items are wrong is also reported as too short, since pydantic drops them first.
    items = [item for item in items if item["type"] != "too_short" or not _is_cause(item["loc"], items)]
    lines = [_describe(item, whole) for item in items[:shown]]
    while len(lines) > 1 and sum(map(len, lines)) > 240:
        lines.pop()
    more = len(items) - len(lines)
    return "; ".join(lines) + (f"; and {more} more" if more > 0 else "")


def one_line(text: str, length: int = 160) -> str:
    """`text` on one line of printable characters, its middle left out beyond `length`."""
    printable = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    half = length // 2
    return printable if len(printable) <= length else f"{printable[: half - 2]} ... {printable[3 - half :]}"


def _is_cause(place: tuple[int | str, ...], items: list[ErrorDetails]) -> bool:
    return any(len(item["loc"]) > len(place) and item["loc"][: len(place)] == place for item in items)


def _describe(item: ErrorDetails, whole: str) -> str:
    place = one_line(".".join(str(part) for part in item["loc"]), 80) or whole
    context = item.get("ctx", {})
    if item["type"] == "union_tag_invalid":
        what = f"unknown kind {one_line(str(context['tag']), 40)!r}; known are {context['expected_tags']}"
        return f"{place}: {what}" + (f"; {MAKE_KNOWN}" if context["discriminator"] == "'kind'" else "")
    message = str(context["error"]) if item["type"] == "value_error" else item["msg"]
    if item["type"] == "json_invalid":
        return f"not JSON: {one_line(str(context['error']))}"
    given = repr(item["input"])
    given = f" (given {given})" if len(given) <= 60 and item["type"] != "missing" else ""
    return f"{place}: {one_line(message)}{given}"
