"""Residual networks: He et al. 2015, ResNeXt (Xie et al. 2017), wide networks (Zagoruyko and Komodakis 2016)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from searchspace.architecture import Architecture, Head, Stage
from searchspace.blocks import Conv, Pool, Residual


def imagenet_stem(width: int = 64) -> tuple[Stage, ...]:
    """7x7 convolution and 3x3 max pooling, both of stride 2."""
    return (
        Stage(block=Conv(width=width, kernel_size=7), stride=2),
        Stage(block=Pool(kernel_size=3), stride=2),
    )


def doubling(block: Residual, depths: tuple[int, ...]) -> tuple[Stage, ...]:
    """Stages of this block, each twice as wide as the one before and, but for the first, of stride 2."""
    return tuple(
        Stage(
            block=block.model_copy(update={"width": block.width * 2**number}),
            depth=depth,
            stride=1 if number == 0 else 2,
        )
        for number, depth in enumerate(depths)
    )


def resnet(depths: tuple[int, ...], bottleneck: float | None = None, cardinality: int = 1) -> Architecture:
    """As torchvision builds it, with the stride in the 3x3 convolution.

    Four stages of 64, 128, 256, 512 channels, four times as wide behind bottlenecks; `bottleneck` is the inner share of
    the width, `cardinality` the number of the inner convolution's groups.
    """
    block = Residual(width=64 if bottleneck is None else 256, bottleneck=bottleneck, cardinality=cardinality)
    return Architecture(resolution=224, classes=1000, stem=imagenet_stem(), stages=doubling(block, depths))


def cifar_resnet(depth: int) -> Architecture:
    """The paper's networks for CIFAR-10: `depth` layers, three stages of 16, 32, 64 channels, option-A shortcuts."""
    stages = doubling(Residual(width=16, shortcut="padding"), ((depth - 2) // 6,) * 3)
    return Architecture(resolution=32, classes=10, stem=(Stage(block=Conv(width=16)),), stages=stages)


def wide_resnet(depth: int, widening: int) -> Architecture:
    """WRN-depth-widening for CIFAR-10: pre-activation blocks of 16, 32, 64 channels times the widening."""
    block = Residual(width=16 * widening, preactivation=True)
    return Architecture(
        resolution=32,
        classes=10,
        stem=(Stage(block=Conv(width=16, norm="none", activation="none")),),
        stages=doubling(block, ((depth - 4) // 6,) * 3),
        head=Head(norm="batch"),
    )


def cifar_resnext(depth: int, cardinality: int, group_width: int) -> Architecture:
    """ResNeXt-depth, cardinality x group_width d, for CIFAR-10: three stages of 256, 512, 1024 channels."""
    block = Residual(width=256, bottleneck=cardinality * group_width / 256, cardinality=cardinality)
    stages = doubling(block, ((depth - 2) // 9,) * 3)
    return Architecture(resolution=32, classes=10, stem=(Stage(block=Conv(width=64)),), stages=stages)


RESNETS: dict[str, Callable[[], Architecture]] = {
    "resnet18": partial(resnet, (2, 2, 2, 2)),
    "resnet34": partial(resnet, (3, 4, 6, 3)),
    "resnet50": partial(resnet, (3, 4, 6, 3), bottleneck=0.25),
    "resnet101": partial(resnet, (3, 4, 23, 3), bottleneck=0.25),
    "resnet152": partial(resnet, (3, 8, 36, 3), bottleneck=0.25),
    "resnext50_32x4d": partial(resnet, (3, 4, 6, 3), bottleneck=0.5, cardinality=32),
    "resnext101_32x8d": partial(resnet, (3, 4, 23, 3), bottleneck=1.0, cardinality=32),
    "wide_resnet50_2": partial(resnet, (3, 4, 6, 3), bottleneck=0.5),
    "wide_resnet101_2": partial(resnet, (3, 4, 23, 3), bottleneck=0.5),
    "resnet20": partial(cifar_resnet, 20),
    "resnet56": partial(cifar_resnet, 56),
    "resnet110": partial(cifar_resnet, 110),
    "wrn_16_8": partial(wide_resnet, 16, 8),
    "wrn_28_10": partial(wide_resnet, 28, 10),
    "resnext29_8x64d": partial(cifar_resnext, 29, cardinality=8, group_width=64),
}
