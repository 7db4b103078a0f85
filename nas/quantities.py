"""Counts, latencies and durations as people write them."""

from __future__ import annotations

import re

from nas.errors import NasError

_COUNT = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_count(text: str | int | float) -> int:
    """500k, 1M or 2.5G as a whole number of at least 1.

    Raises:
        NasError: anything else.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgb]?)", str(text).strip(), re.IGNORECASE | re.ASCII)
    count = round(float(match[1]) * _COUNT[match[2].lower()]) if match and len(match[1]) < 30 else 0
    if count < 1:
        raise NasError(f"{str(text)[:60]!r} is not a count: write a number of at least 1 such as 500k, 1M or 2.5G")
    return count


def parse_duration(text: str | int | float) -> float:
    """90s, 30m, 8h, 1h30m or plain seconds, in seconds above 0.

    Raises:
        NasError: anything else.
    """
    clean = str(text).strip().lower()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", clean, re.ASCII):
        clean += "s"
    parts = re.findall(r"(\d{1,9}(?:\.\d+)?)([smhd])", clean, re.ASCII)
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != clean or seconds <= 0:
        raise NasError(f"{str(text)[:60]!r} is not a duration: write 90s, 30m, 8h or 1h30m")
    return seconds


def parse_latency(text: float | str) -> float:
    """5ms, 0.8ms, 2s or plain milliseconds, in milliseconds above 0.

    Raises:
        NasError: anything else.
    """
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?(ms|s)?", str(text).strip(), re.ASCII)
    milliseconds = float(match[1]) * (1000 if match[2] == "s" else 1) if match else 0.0
    if not milliseconds:
        raise NasError(f"{str(text)[:60]!r} is not a latency: write 5ms, 0.8ms or 2s")
    return milliseconds


def require_whole(name: str, value: object, *, least: int = 1) -> None:
    """Raise NasError unless the value is a whole number of at least `least` that a database can hold."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**63:
        raise NasError(f"{name} is a whole number of at least {least}, given {value!r}")


def show_count(count: float) -> str:
    """Three digits and a letter: 12.3M."""
    for letter, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size * 0.9995:
            digits = f"{count / size:.3g}" if count / size < 999.5 else f"{count / size:.0f}"
            return f"{digits}{letter}"
    return f"{count:.0f}"


def show_latency(milliseconds: float) -> str:
    """Three digits: 4.56ms."""
    return f"{milliseconds:.3g}ms"


def show_duration(seconds: float) -> str:
    """Two units at most: 8 h 20 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def show_seconds(seconds: float) -> str:
    """A tenth of a second where it is few of them: 3.2 s."""
    return f"{seconds:.1f} s" if seconds < 9.95 else show_duration(seconds)
