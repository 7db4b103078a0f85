"""DenseNet-BC (Huang et al. 2017): for ImageNet as torchvision builds it, for CIFAR as in the paper."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from searchspace.architecture import Architecture, Head, Stage
from searchspace.blocks import Conv, Dense
from searchspace.references.resnet import imagenet_stem


def dense_stages(depths: tuple[int, ...], growth_rate: int) -> tuple[Stage, ...]:
    """Dense stages with transitions that halve channels and resolution between them."""
    return tuple(
        Stage(
            block=Dense(growth_rate=growth_rate, compression=0.5 if number else 1.0),
            depth=depth,
            stride=2 if number else 1,
        )
        for number, depth in enumerate(depths)
    )


def densenet(depths: tuple[int, ...], growth_rate: int, stem_width: int) -> Architecture:
    """The networks of table 1 of the paper."""
    return Architecture(
        resolution=224,
        classes=1000,
        stem=imagenet_stem(stem_width),
        stages=dense_stages(depths, growth_rate),
        head=Head(norm="batch"),
    )


def cifar_densenet(depth: int, growth_rate: int) -> Architecture:
    """Three stages of `(depth - 4) / 6` layers behind a bare 3x3 convolution to two growth rates of channels."""
    stem = Conv(width=2 * growth_rate, norm="none", activation="none")
    return Architecture(
        resolution=32,
        classes=10,
        stem=(Stage(block=stem),),
        stages=dense_stages(((depth - 4) // 6,) * 3, growth_rate),
        head=Head(norm="batch"),
    )


DENSENETS: dict[str, Callable[[], Architecture]] = {
    "densenet121": partial(densenet, (6, 12, 24, 16), growth_rate=32, stem_width=64),
    "densenet161": partial(densenet, (6, 12, 36, 24), growth_rate=48, stem_width=96),
    "densenet169": partial(densenet, (6, 12, 32, 32), growth_rate=32, stem_width=64),
    "densenet201": partial(densenet, (6, 12, 48, 32), growth_rate=32, stem_width=64),
    "densenet_bc_100_12": partial(cifar_densenet, depth=100, growth_rate=12),
}
