"""Axes of charts: what they span, where their marks stand, and how numbers become places on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from nas.quantities import show_count


@dataclass(frozen=True)
class Axis:
    """A labelled span of numbers, linear or logarithmic; `show` writes the number at a mark."""

    label: str
    low: float
    high: float
    show: Callable[[float], str]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Where a value lies, 0 at the low end and 1 at the high one."""
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def marks(self) -> list[float]:
        """Round numbers within the span, three to nine of them."""
        found = _powers(self.low, self.high) if self.logarithmic else _steps(self.low, self.high)
        return [mark for mark in found if self.low <= mark * (1 + 1e-9) and mark <= self.high * (1 + 1e-9)]


def percent_axis(label: str, shares: Iterable[float]) -> Axis:
    """Accuracies, given as shares, over their range and a little more; never outside 0 to 100 %."""
    values = list(shares)
    margin = max(0.01, 0.06 * (max(values) - min(values)))
    low, high = max(0.0, min(values) - margin), min(1.0, max(values) + margin)
    return Axis(label, low, high, lambda share: f"{100 * share:.3g} %")


def count_axis(label: str, counts: Iterable[float], show: Callable[[float], str] = show_count) -> Axis:
    """Counts above 0; logarithmic where the largest is more than four times the smallest."""
    values = list(counts)
    low, high = min(values), max(values)
    if low > 0 and high > 4 * low:
        return Axis(label, low / 1.1, high * 1.1, show, logarithmic=True)
    margin = 0.05 * (high - low) or max(1.0, 0.05 * high)
    return Axis(label, max(0.0, low - margin), high + margin, show)


def from_zero(label: str, high: float, show: Callable[[float], str]) -> Axis:
    """From 0 to a little above `high`."""
    return Axis(label, 0.0, 1.05 * high or 1.0, show)


def _steps(low: float, high: float) -> list[float]:
    rough = (high - low) / 7
    unit = 10 ** math.floor(math.log10(rough))
    step = unit * next(factor for factor in (1, 2, 5, 10) if factor * unit >= rough)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _powers(low: float, high: float) -> list[float]:
    tens = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if high / low < 300 else (1,)
    return [factor * 10.0**ten for ten in tens for factor in factors]
