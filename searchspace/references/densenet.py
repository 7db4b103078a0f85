"""DenseNet-BC (Huang et al. 2017) as torchvision builds it."""

from __future__ import annotations

from searchspace.architecture import Architecture, Head, Stage
from searchspace.blocks import Dense
from searchspace.references.resnet import imagenet_stem


def densenet(depths: tuple[int, ...], growth_rate: int, stem_width: int) -> Architecture:
    """Dense stages with transitions that halve channels and resolution between them."""
    stages = tuple(
        Stage(
            block=Dense(growth_rate=growth_rate, compression=0.5 if number else 1.0),
            depth=depth,
            stride=2 if number else 1,
        )
        for number, depth in enumerate(depths)
    )
    return Architecture(
        resolution=224, classes=1000, stem=imagenet_stem(stem_width), stages=stages, head=Head(norm="batch")
    )


def densenet121() -> Architecture:
    return densenet((6, 12, 24, 16), 32, 64)
