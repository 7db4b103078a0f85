"""MobileNetV2 (Sandler et al. 2018)."""

from __future__ import annotations

from searchspace.architecture import Architecture, Head, Stage
from searchspace.blocks import Conv, MBConv

# expansion, width, depth, stride: table 2 of the paper
ROWS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def mobilenet_v2() -> Architecture:
    stages = tuple(
        Stage(
            block=MBConv(width=width, expansion=expansion, squeeze_excite=0.0, activation="relu6"),
            depth=depth,
            stride=stride,
        )
        for expansion, width, depth, stride in ROWS
    )
    return Architecture(
        resolution=224,
        classes=1000,
        stem=(Stage(block=Conv(width=32, activation="relu6"), stride=2),),
        stages=stages,
        head=Head(blocks=(Stage(block=Conv(width=1280, kernel_size=1, activation="relu6")),), dropout=0.2),
    )
