"""MnasNet-B1 (Tan et al. 2018), searched for phones, as torchvision builds it: no squeeze-excite."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from searchspace.architecture import Architecture, Head, Stage
from searchspace.blocks import Block, Conv, MBConv
from searchspace.rounding import round_width

# expansion, kernel size, stride, width, depth: figure 7(a) of the paper, without squeeze-excite
ROWS = (
    (1, 3, 1, 16, 1),
    (3, 3, 2, 24, 3),
    (3, 5, 2, 40, 3),
    (6, 5, 2, 80, 3),
    (6, 3, 1, 96, 2),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


def mnasnet(factor: float) -> Architecture:
    """The body and the stem times `factor`, rounded to 8; the head keeps its 1280 channels.

    The first row is written as a separable convolution in the paper: an inverted bottleneck without expansion.
    """

    def block(expansion: int, kernel_size: int, width: int) -> Block:
        width = round_width(width, factor)
        return MBConv(width=width, kernel_size=kernel_size, expansion=expansion, squeeze_excite=0.0, activation="relu")

    stages = tuple(
        Stage(block=block(expansion, kernel_size, width), depth=depth, stride=stride)
        for expansion, kernel_size, stride, width, depth in ROWS
    )
    return Architecture(
        resolution=224,
        classes=1000,
        stem=(Stage(block=Conv(width=round_width(32, factor)), stride=2),),
        stages=stages,
        head=Head(blocks=(Stage(block=Conv(width=1280, kernel_size=1)),), dropout=0.2),
        norm_momentum=0.0003,
    )


MNASNETS: dict[str, Callable[[], Architecture]] = {
    "mnasnet0_5": partial(mnasnet, 0.5),
    "mnasnet0_75": partial(mnasnet, 0.75),
    "mnasnet1_0": partial(mnasnet, 1.0),
    "mnasnet1_3": partial(mnasnet, 1.3),
}
