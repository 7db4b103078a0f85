"""ResNet (He et al. 2015) as torchvision builds it, with the stride in the 3x3 convolution."""

from __future__ import annotations

from searchspace.architecture import Architecture, Stage
from searchspace.blocks import Conv, Pool, Residual


def imagenet_stem(width: int = 64) -> tuple[Stage, ...]:
    """7x7 convolution and 3x3 max pooling, both of stride 2."""
    return (
        Stage(block=Conv(width=width, kernel_size=7), stride=2),
        Stage(block=Pool(kernel_size=3), stride=2),
    )


def resnet(depths: tuple[int, ...], bottleneck: float | None) -> Architecture:
    """Four stages of 64, 128, 256, 512 channels, four times as wide behind bottlenecks."""
    expansion = 1 if bottleneck is None else 4
    stages = tuple(
        Stage(
            block=Residual(width=64 * 2**number * expansion, bottleneck=bottleneck),
            depth=depth,
            stride=1 if number == 0 else 2,
        )
        for number, depth in enumerate(depths)
    )
    return Architecture(resolution=224, classes=1000, stem=imagenet_stem(), stages=stages)


def resnet18() -> Architecture:
    return resnet((2, 2, 2, 2), None)


def resnet50() -> Architecture:
    return resnet((3, 4, 6, 3), 0.25)
