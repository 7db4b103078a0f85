"""Published ways to make a network larger or smaller, as data: directions of compound scaling, and whole families."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass

from searchspace.architecture import Architecture
from searchspace.errors import ArchitectureError, SpaceError
from searchspace.laws import LAWS
from searchspace.references.efficientnet import VARIANTS, efficientnet_b0
from searchspace.references.small_images import SMALL
from searchspace.scaling import ScalingLaw, scale


@dataclass(frozen=True)
class Direction:
    """A law of compound scaling under a name, and where it comes from."""

    name: str
    law: ScalingLaw
    source: str

    @property
    def exponents(self) -> tuple[float, float, float]:
        """(e_d, e_w, e_r) of Dollar et al. 2021, which sum to 1.

        For s times the multiply-adds depth grows by s^e_d, width by s^(e_w/2) and resolution by s^(e_r/2).
        """
        law = self.law
        shares = math.log(law.alpha), 2 * math.log(law.beta), 2 * math.log(law.gamma)
        depth, width, resolution = (share / sum(shares) for share in shares)
        return depth, width, resolution

    def expected(self, macs: float) -> float:
        """The factor on parameters for this factor on multiply-adds, before rounding; resolution has no part in it."""
        depth, width, _ = self.exponents
        return macs ** (depth + width)


def law_along(depth: float, width: float, resolution: float) -> ScalingLaw:
    """The law that doubles the multiply-adds at phi 1 by these exponents, which sum to 1."""
    return ScalingLaw(2**depth, 2 ** (width / 2), 2 ** (resolution / 2))


DIRECTIONS: dict[str, Direction] = {
    direction.name: direction
    for direction in (
        Direction("width", LAWS["width"], "Zagoruyko and Komodakis 2016"),
        Direction("wide", LAWS["wide"], "Dollar et al. 2021, without growth of small images"),
        Direction("fast", law_along(0.1, 0.8, 0.1), "Dollar et al. 2021, dWr"),
        Direction("even", LAWS["even"], "Dollar et al. 2021, dw"),
        Direction("uniform", law_along(1 / 3, 1 / 3, 1 / 3), "Dollar et al. 2021, dwr"),
        Direction("efficientnet", LAWS["balanced"], "Tan and Le 2019"),
        Direction("depth", LAWS["depth"], "He et al. 2015"),
        Direction("resolution", LAWS["resolution"], "Howard et al. 2017"),
    )
}


def find_direction(name: str) -> Direction:
    """The direction of this name.

    Raises:
        SpaceError: there is none.
    """
    if name not in DIRECTIONS:
        near = difflib.get_close_matches(name, DIRECTIONS, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise SpaceError(f"no direction of scaling named {name[:60]!r}: {hint}there are {', '.join(DIRECTIONS)}")
    return DIRECTIONS[name]


def default_direction(architecture: Architecture) -> tuple[Direction, str]:
    """The direction to take where none was measured for this network, and why."""
    if architecture.resolution <= SMALL:
        why = f"images of {SMALL} pixels and below have no more to show: published networks for them grow in width"
        return DIRECTIONS["wide"], why
    return DIRECTIONS["efficientnet"], "larger images: Tan and Le 2019 found that depth, width and resolution balance"


@dataclass(frozen=True)
class Pixels:
    """The sides in pixels that scaling may give images, ends included."""

    lowest: int
    highest: int

    def __post_init__(self) -> None:
        if not 1 <= self.lowest <= self.highest <= 4096:
            raise ArchitectureError(
                f"a range of resolutions goes from its smaller to its larger end within 1 to 4096 pixels, given "
                f"{self.lowest} to {self.highest}"
            )

    def nearest(self, side: float) -> int:
        """The even number of pixels nearest to `side`, or the end of the range that it lies beyond."""
        return min(max(round(side / 2) * 2, self.lowest), self.highest)


def along(architecture: Architecture, law: ScalingLaw, phi: float, pixels: Pixels) -> Architecture:
    """`compound` with images that stay within `pixels`: depth and width grow on where the resolution may not.

    Raises:
        ArchitectureError: the result is beyond the limits of an architecture.
    """
    return multiplied(architecture, law.beta**phi, law.alpha**phi, law.gamma**phi, pixels)


def multiplied(
    architecture: Architecture, width: float, depth: float, resolution: float, pixels: Pixels
) -> Architecture:
    """`scale` with a factor on the resolution, which is rounded to an even number and kept within `pixels`."""
    side = architecture.resolution
    wanted = side if resolution == 1 and pixels.lowest <= side <= pixels.highest else pixels.nearest(side * resolution)
    return scale(architecture, width=width, depth=depth, resolution=wanted)


@dataclass(frozen=True)
class Member:
    """Published factors on the width, depth and resolution of a family's first network."""

    name: str
    width: float
    depth: float
    resolution: float

    def of(self, architecture: Architecture, pixels: Pixels) -> Architecture:
        """What these factors make of any network."""
        return multiplied(architecture, self.width, self.depth, self.resolution, pixels)


# The paper scales B2's images to 260 pixels; the resolution in VARIANTS is that of torchvision's weights.
_SIDES = {name: 260 if name == "efficientnet_b2" else variant.resolution for name, variant in VARIANTS.items()}

FAMILIES: dict[str, tuple[Member, ...]] = {
    # Tan and Le 2019: rounded by hand, so not exactly powers of 1.2, 1.1 and 1.15.
    "efficientnet": (
        Member("efficientnet_b0", 1.0, 1.0, 1.0),
        *(
            Member(name, variant.width, variant.depth, _SIDES[name] / efficientnet_b0().resolution)
            for name, variant in VARIANTS.items()
        ),
    ),
    # Han et al. 2020, "Model Rubik's Cube": B0 made smaller. Their networks keep the widths of stem and head and round
    # depths to the nearest number; here all are scaled as everywhere else.
    "tinynet": (
        Member("tinynet_e", 0.51, 0.60, 0.475),
        Member("tinynet_d", 0.54, 0.695, 0.68),
        Member("tinynet_c", 0.54, 0.85, 0.825),
        Member("tinynet_b", 0.75, 1.1, 0.84),
        Member("tinynet_a", 1.0, 1.2, 0.86),
    ),
}
"""Factors of published families, each from its smallest member to its largest."""
