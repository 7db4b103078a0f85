"""Named laws of compound scaling: the directions in which a search may grow its networks."""

from __future__ import annotations

from searchspace.scaling import EFFICIENTNET, ScalingLaw

# Each doubles the multiply-adds at phi 1, before rounding: exactly, or within 5 % (balanced: 1.92).
LAWS: dict[str, ScalingLaw] = {
    "balanced": EFFICIENTNET,
    "width": ScalingLaw(1.0, 2**0.5, 1.0),
    "depth": ScalingLaw(2.0, 1.0, 1.0),
    "resolution": ScalingLaw(1.0, 1.0, 2**0.5),  # where images have more pixels than are used, or upscaling is wanted
    "wide": ScalingLaw(2**0.11, 2**0.445, 1.0),  # CIFAR's: Dollar et al.'s dWr, its share of resolution to the others
    "even": ScalingLaw(2**0.5, 2**0.25, 1.0),  # depth and width in equal shares
}
