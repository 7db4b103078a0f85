"""How scaled widths and depths become whole numbers (Tan and Le 2019, in the authors' code)."""

from __future__ import annotations

import math


def make_divisible(value: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor`, at least one, that does not fall more than 10 % below `value`."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def round_width(width: int, factor: float, divisor: int = 8) -> int:
    """`width * factor` as a multiple of `divisor`; a factor of 1 changes nothing, whatever the width."""
    return width if factor == 1 else make_divisible(width * factor, divisor)


def round_depth(depth: int, factor: float) -> int:
    """`depth * factor` rounded up, so that no stage vanishes; 50 * 1.1 is 55, though 55.00000000000001 in floats."""
    return depth if factor == 1 else max(1, math.ceil(round(depth * factor, 9)))
