"""RegNetX (Radosavovic et al. 2020): a whole network from five numbers."""

from __future__ import annotations

import math
from itertools import groupby
from typing import NamedTuple

from searchspace.architecture import Architecture, Stage
from searchspace.blocks import Conv, Residual
from searchspace.errors import ArchitectureError
from searchspace.rounding import make_divisible

STEM = 32  # channels


class Line(NamedTuple):
    """Depth, initial width, slope and quantisation of the widths, and the width of a group of channels."""

    depth: int
    w_0: int
    w_a: float
    w_m: float
    group_width: int

    def widths(self) -> list[int]:
        """The width of each block: w_0 + w_a * j, moved to the nearest power of w_m times w_0, as a multiple of 8."""
        continuous = [self.w_0 + self.w_a * block for block in range(self.depth)]
        powers = [round(math.log(width / self.w_0) / math.log(self.w_m)) for width in continuous]
        return [round(self.w_0 * self.w_m**power / 8) * 8 for power in powers]


LINES: dict[str, Line] = {
    "regnet_x_400mf": Line(22, 24, 24.48, 2.54, 16),
    "regnet_x_800mf": Line(16, 56, 35.73, 2.28, 16),
    "regnet_x_1_6gf": Line(18, 80, 34.01, 2.25, 24),
    "regnet_x_3_2gf": Line(25, 88, 26.31, 2.25, 48),
    "regnet_x_8gf": Line(23, 80, 49.56, 2.88, 120),
    "regnet_x_16gf": Line(22, 216, 55.59, 2.1, 128),
    "regnet_x_32gf": Line(23, 320, 69.86, 2.0, 168),
}
"""The published networks, from the smallest to the largest."""


def regnet(line: Line, *, channels: int = 3, resolution: int = 224, classes: int = 1000) -> Architecture:
    """The network of a quantised line: a stem of stride 2, then a stage of stride 2 for each run of equal widths.

    Its X block is a bottleneck whose inner convolution is as wide as its ends and works on groups of `group_width`
    channels. RegNetY is outside the language: it squeezes and excites inside the branch, ours stands at its end.

    Raises:
        ArchitectureError: a slope below 0, a step w_m of 1 or less, a width w_0 that is no multiple of 8, or a network
            beyond the limits of an architecture.
    """
    if line.w_a < 0 or line.w_m <= 1 or line.w_0 < 8 or line.w_0 % 8 or line.depth < 1 or line.group_width < 1:
        raise ArchitectureError(
            f"a RegNet needs a depth and group width of 1 or more, w_0 a multiple of 8, w_a 0 or more and w_m above 1, "
            f"given {line}"
        )
    stages = tuple(_stage(width, len(list(run)), line.group_width) for width, run in groupby(line.widths()))
    stem = (Stage(block=Conv(width=STEM), stride=2),)
    return Architecture(channels=channels, resolution=resolution, classes=classes, stem=stem, stages=stages)


def _stage(width: int, depth: int, group_width: int) -> Stage:
    group = min(group_width, width)
    width = make_divisible(width, group)
    return Stage(block=Residual(width=width, bottleneck=1.0, cardinality=width // group), depth=depth, stride=2)
