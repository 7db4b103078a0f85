"""VGG (Simonyan and Zisserman 2014) as torchvision builds it: biases also beside batch normalisation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from searchspace.architecture import Architecture, Head, Stage
from searchspace.blocks import Conv, Pool

WIDTHS = (64, 128, 256, 512, 512)


def vgg(depths: tuple[int, ...], norm: bool) -> Architecture:
    """Five groups of 3x3 convolutions, each followed by 2x2 max pooling, and two hidden layers of 4096."""
    stages: list[Stage] = []
    for width, depth in zip(WIDTHS, depths, strict=True):
        stages.append(Stage(block=Conv(width=width, bias=True, norm="batch" if norm else "none"), depth=depth))
        stages.append(Stage(block=Pool(kernel_size=2), stride=2))
    head = Head(pool_size=7, hidden=(4096, 4096), dropout=0.5)
    return Architecture(resolution=224, classes=1000, stages=tuple(stages), head=head)


# Convolutions of each width: columns A, B, D and E of table 1 of the paper
A, B, D, E = (1, 1, 2, 2, 2), (2, 2, 2, 2, 2), (2, 2, 3, 3, 3), (2, 2, 4, 4, 4)
VGGS: dict[str, Callable[[], Architecture]] = {
    "vgg11": partial(vgg, A, norm=False),
    "vgg11_bn": partial(vgg, A, norm=True),
    "vgg13": partial(vgg, B, norm=False),
    "vgg13_bn": partial(vgg, B, norm=True),
    "vgg16": partial(vgg, D, norm=False),
    "vgg16_bn": partial(vgg, D, norm=True),
    "vgg19": partial(vgg, E, norm=False),
    "vgg19_bn": partial(vgg, E, norm=True),
}
