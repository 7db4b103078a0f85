"""What the named spaces can put into a stage: a choice of family and its options becomes one `Stage`.

`width` is what leaves the stage and `depth` counts residual blocks or their like, so that a stage costs and learns
something comparable whatever family it is of, and a sampler may carry width and depth over from one to another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from searchspace.architecture import Stage
from searchspace.blocks import Conv, ConvLayer, Dense, Inception, InceptionResidual, MBConv, PoolLayer, Residual
from searchspace.record import ActivationName
from searchspace.space import Dimension, Option

SQUEEZE = 0.25  # the ratio of EfficientNet and RegNetY


@dataclass(frozen=True)
class Slot:
    """Where a stage stands and what the whole network shares."""

    first: bool
    in_channels: int
    side: int  # of the feature map that enters, in pixels
    stride: int
    activation: ActivationName
    squeeze_excite: bool = False

    @property
    def excitation(self) -> float:
        return SQUEEZE if self.squeeze_excite else 0.0


@dataclass(frozen=True)
class StageChoices:
    """One stage's choices without their prefix; families read their own options, absent ones at a default."""

    family: str
    width: int
    depth: int
    options: Mapping[str, Any]

    def get(self, name: str, default: Any) -> Any:
        return self.options.get(name, default)


def conv(stage: StageChoices, slot: Slot) -> Stage:
    """Plain 3x3 convolutions, one more than the depth (VGG has two or three in a group)."""
    block = Conv(width=stage.width, squeeze_excite=slot.excitation, activation=slot.activation)
    return Stage(block=block, depth=stage.depth + 1, stride=slot.stride)


def separable(stage: StageChoices, slot: Slot) -> Stage:
    """Depthwise-separable convolutions (MobileNetV1), one more than the depth."""
    block = Conv(
        width=stage.width,
        kernel_size=stage.get("kernel_size", 3),
        separable=True,
        squeeze_excite=slot.excitation,
        activation=slot.activation,
    )
    return Stage(block=block, depth=stage.depth + 1, stride=slot.stride)


def residual(stage: StageChoices, slot: Slot) -> Stage:
    """Basic residual blocks; with pre-activation and width the wide networks of Zagoruyko 2016."""
    block = Residual(
        width=stage.width,
        preactivation=stage.get("preactivation", False),
        squeeze_excite=slot.excitation,
        activation=slot.activation,
    )
    return Stage(block=block, depth=stage.depth, stride=slot.stride)


def bottleneck(stage: StageChoices, slot: Slot) -> Stage:
    """Bottlenecks of twice the width; inner ratio 0.25 as in ResNet, 0.5 when grouped as in ResNeXt."""
    cardinality = stage.get("cardinality", 1)
    block = Residual(
        width=2 * stage.width,
        bottleneck=0.25 if cardinality == 1 else 0.5,
        cardinality=cardinality,
        preactivation=stage.get("preactivation", False),
        squeeze_excite=slot.excitation,
        activation=slot.activation,
    )
    return Stage(block=block, depth=stage.depth, stride=slot.stride)


def dense(stage: StageChoices, slot: Slot) -> Stage:
    """DenseNet-BC layers, at most two for one of depth, at the growth rate (8 or more) that ends near the width.

    Few wide layers rather than many narrow ones: Wide-DenseNet L40 k48 beats L100 k12 on CIFAR-10.
    """
    compression = 1.0 if slot.first else 0.5
    grown = stage.width - int(slot.in_channels * compression)
    layers = max(1, min(2 * stage.depth, grown // 8))
    growth = max(8, round(grown / layers / 8) * 8)  # nearest: make_divisible would rather overshoot
    block = Dense(growth_rate=growth, compression=compression, activation=slot.activation)
    return Stage(block=block, depth=layers, stride=slot.stride)


def mbconv(stage: StageChoices, slot: Slot) -> Stage:
    """Inverted bottlenecks (MnasNet, EfficientNet)."""
    block = MBConv(
        width=stage.width,
        kernel_size=stage.get("kernel_size", 3),
        expansion=float(stage.get("expansion", 4)),
        squeeze_excite=slot.excitation,
        activation=slot.activation,
    )
    return Stage(block=block, depth=stage.depth, stride=slot.stride)


def fused_mbconv(stage: StageChoices, slot: Slot) -> Stage:
    """Inverted bottlenecks with one full 3x3 convolution, and smaller expansions (EfficientNetV2)."""
    block = MBConv(
        width=stage.width,
        expansion=float(stage.get("fused_expansion", 2)),
        fused=True,
        squeeze_excite=slot.excitation,
        activation=slot.activation,
    )
    return Stage(block=block, depth=stage.depth, stride=slot.stride)


def inception(stage: StageChoices, slot: Slot) -> Stage:
    """Inception modules whose branches share the width in the proportions of their papers."""
    block = Inception(
        branches=BRANCHES[stage.get("branches", "factorised")](slot.side),
        width=stage.width,
        squeeze_excite=slot.excitation,
        activation=slot.activation,
    )
    return Stage(block=block, depth=stage.depth, stride=slot.stride)


def inception_residual(stage: StageChoices, slot: Slot) -> Stage:
    """The same modules without their pools, half as wide and scaled down, beside a shortcut (Inception-ResNet)."""
    branches = BRANCHES[stage.get("branches", "factorised")](slot.side)
    block = InceptionResidual(
        width=stage.width,
        branches=tuple(branch for branch in branches if not isinstance(branch[0], PoolLayer)),
        bottleneck=0.5,
        squeeze_excite=slot.excitation,
        activation=slot.activation,
    )
    return Stage(block=block, depth=stage.depth, stride=slot.stride)


def v1_branches(side: int) -> tuple:
    """GoogLeNet's 1x1, 3x3, 5x5 and pool, in the shares of its module 4c."""
    return (
        (one(4),),
        (one(4), ConvLayer(width=8)),
        (one(1), ConvLayer(width=2, kernel_size=(5, 5))),
        (PoolLayer(), one(2)),
    )


def factorised_branches(side: int) -> tuple:
    """Inception v3's first modules: two 3x3 for the 5x5, and an average pool."""
    return (
        (one(4),),
        (one(3), ConvLayer(width=4)),
        (one(4), ConvLayer(width=6), ConvLayer(width=6)),
        (PoolLayer(operation="average"), one(2)),
    )


def asymmetric_branches(side: int) -> tuple:
    """Inception v3's middle modules: 1xn and nx1, with n near half the side of the feature map and at most 7."""
    n = 7 if side >= 14 else 5 if side >= 8 else 3
    return (
        (one(4),),
        (one(3), ConvLayer(width=3, kernel_size=(1, n)), ConvLayer(width=4, kernel_size=(n, 1))),
        (one(4), ConvLayer(width=4), ConvLayer(width=4)),
        (PoolLayer(operation="average"), one(4)),
    )


def one(share: int) -> ConvLayer:
    return ConvLayer(width=share, kernel_size=(1, 1))


BRANCHES: dict[str, Callable[[int], tuple]] = {
    "v1": v1_branches,
    "factorised": factorised_branches,
    "asymmetric": asymmetric_branches,
}

FAMILIES: dict[str, Callable[[StageChoices, Slot], Stage]] = {
    "conv": conv,
    "separable": separable,
    "residual": residual,
    "bottleneck": bottleneck,
    "inception": inception,
    "inception_residual": inception_residual,
    "dense": dense,
    "mbconv": mbconv,
    "fused_mbconv": fused_mbconv,
}

# Which families read an option; a space that leaves the option out gets the family's default.
READ_BY: dict[str, tuple[str, ...]] = {
    "preactivation": ("residual", "bottleneck"),
    "cardinality": ("bottleneck",),
    "branches": ("inception", "inception_residual"),
    "kernel_size": ("separable", "mbconv"),
    "expansion": ("mbconv",),
    "fused_expansion": ("fused_mbconv",),
}


def stage_dimensions(
    number: int,
    families: tuple[str, ...],
    widths: tuple[int, ...],
    depths: tuple[int, ...],
    options: Mapping[str, tuple[Option, ...]],
    when: tuple[str, tuple[Option, ...]] | None = None,
) -> tuple[Dimension, ...]:
    """Family, width, depth, and each option where one of the offered families reads it."""
    stage = f"stage{number}"
    dimensions = [
        Dimension(f"{stage}/family", families, when=when),
        Dimension(f"{stage}/width", widths, ordered=True, when=when),
        Dimension(f"{stage}/depth", depths, ordered=True, when=when),
    ]
    for name, values in options.items():
        readers = tuple(family for family in READ_BY[name] if family in families)
        if readers:
            ordered = isinstance(values[0], int | float) and not isinstance(values[0], bool)
            dimensions.append(Dimension(f"{stage}/{name}", values, ordered, (f"{stage}/family", readers)))
    return tuple(dimensions)
