"""GoogLeNet (Szegedy et al. 2014) as torchvision builds it: batch normalisation, and 3x3 where the paper has 5x5."""

from __future__ import annotations

from searchspace.architecture import Architecture, Head, Stage
from searchspace.blocks import Conv, ConvLayer, Inception, Pool, PoolLayer


def inception_v1(one: int, reduce3: int, three: int, reduce5: int, five: int, pool: int, kernel5: int = 5) -> Inception:
    """The module of the paper's figure 2(b); the arguments are the columns of its table 1."""
    return Inception(
        branches=(
            (ConvLayer(width=one, kernel_size=(1, 1)),),
            (ConvLayer(width=reduce3, kernel_size=(1, 1)), ConvLayer(width=three)),
            (ConvLayer(width=reduce5, kernel_size=(1, 1)), ConvLayer(width=five, kernel_size=(kernel5, kernel5))),
            (PoolLayer(), ConvLayer(width=pool, kernel_size=(1, 1))),
        )
    )


MODULES = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)


def googlenet() -> Architecture:
    def pool(kernel_size: int) -> Stage:
        return Stage(block=Pool(kernel_size=kernel_size, padding=0, ceil_mode=True), stride=2)

    stem = (
        Stage(block=Conv(width=64, kernel_size=7), stride=2),
        pool(3),
        Stage(block=Conv(width=64, kernel_size=1)),
        Stage(block=Conv(width=192)),
        pool(3),
    )
    stages: list[Stage] = []
    for number, modules in enumerate(MODULES):
        stages += [Stage(block=inception_v1(*widths, kernel5=3)) for widths in modules]
        if number < 2:
            stages.append(pool(3 if number == 0 else 2))
    return Architecture(
        resolution=224, classes=1000, stem=stem, stages=tuple(stages), head=Head(dropout=0.2), norm_eps=1e-3
    )
