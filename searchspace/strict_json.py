"""JSON that every reader reads alike: bounded in size and depth, no key twice, no NaN."""

from __future__ import annotations

import json
import math
from typing import Any

from searchspace.errors import ArchitectureError, one_line

MAX_DIGITS = 400


def parse_json(text: str | bytes, max_bytes: int, what: str) -> Any:
    """The text's data; `what` names it in messages: "an architecture".

    Raises:
        ArchitectureError: too large or deep, duplicate keys, NaN or infinity, a huge number, not JSON.
    """
    if len(text) > max_bytes:
        raise ArchitectureError(f"the JSON has {len(text):,} bytes; {what} has at most {max_bytes:,}")
    try:
        return json.loads(
            text, object_pairs_hook=_unique, parse_constant=_refuse, parse_int=_short, parse_float=_finite
        )
    except RecursionError:
        raise ArchitectureError(f"the JSON is nested too deeply for {what}") from None
    except ArchitectureError:
        raise
    except ValueError as error:
        raise ArchitectureError(f"not JSON: {one_line(str(error))}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for name, value in pairs:
        if name in seen:
            raise ArchitectureError(f"the key {one_line(name, 60)!r} stands twice in one JSON object")
        seen[name] = value
    return seen


def _refuse(constant: str) -> float:
    raise ArchitectureError(f"{constant} is not a number that JSON knows")


def _short(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ArchitectureError(f"a number of {len(digits):,} digits; at most {MAX_DIGITS} are allowed")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ArchitectureError(f"{one_line(digits, 40)} is no finite number")
    return value
