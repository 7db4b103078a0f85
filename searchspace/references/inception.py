"""GoogLeNet (Szegedy et al. 2014) and Inception v3 (2015) as torchvision builds them, without auxiliary classifiers.

Its GoogLeNet has batch normalisation, and 3x3 where the paper has 5x5.
"""

from __future__ import annotations

from searchspace.architecture import Architecture, Head, Stage
from searchspace.blocks import Conv, ConvLayer, Inception, Pool, PoolLayer, SplitLayer


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


def conv(width: int, kernel_size: int | tuple[int, int] = 1, padding: int | None = None) -> ConvLayer:
    """A layer of a branch; a kernel or padding of one number is square."""
    pair = kernel_size if isinstance(kernel_size, tuple) else (kernel_size, kernel_size)
    return ConvLayer(width=width, kernel_size=pair, padding=None if padding is None else (padding, padding))


def unpadded_stem() -> tuple[Stage, ...]:
    """From images to an eighth of their size and 192 channels, in Inception v3 and in Inception-ResNet v2."""
    return (
        Stage(block=Conv(width=32, padding=0), stride=2),
        Stage(block=Conv(width=32, padding=0)),
        Stage(block=Conv(width=64)),
        Stage(block=Pool(kernel_size=3, padding=0), stride=2),
        Stage(block=Conv(width=80, kernel_size=1)),
        Stage(block=Conv(width=192, padding=0)),
        Stage(block=Pool(kernel_size=3, padding=0), stride=2),
    )


AVERAGE = PoolLayer(operation="average")
SHRINKING_POOL = PoolLayer(padding=0)


def module_35(pool: int) -> Inception:
    """For the map of 35 pixels; `pool` channels behind the pooling."""
    return Inception(
        branches=(
            (conv(64),),
            (conv(48), conv(64, 5)),
            (conv(64), conv(96, 3), conv(96, 3)),
            (AVERAGE, conv(pool)),
        )
    )


REDUCTION_35 = Inception(
    branches=((conv(384, 3, padding=0),), (conv(64), conv(96, 3), conv(96, 3, padding=0)), (SHRINKING_POOL,))
)


def module_17(inner: int) -> Inception:
    """For the map of 17 pixels: 7x7 convolutions as 1x7 and 7x1, of `inner` channels."""
    flat, tall = (1, 7), (7, 1)
    return Inception(
        branches=(
            (conv(192),),
            (conv(inner), conv(inner, flat), conv(192, tall)),
            (conv(inner), conv(inner, tall), conv(inner, flat), conv(inner, tall), conv(192, flat)),
            (AVERAGE, conv(192)),
        )
    )


REDUCTION_17 = Inception(
    branches=(
        (conv(192), conv(320, 3, padding=0)),
        (conv(192), conv(192, (1, 7)), conv(192, (7, 1)), conv(192, 3, padding=0)),
        (SHRINKING_POOL,),
    )
)
BOTH_WAYS = SplitLayer(branches=((conv(384, (1, 3)),), (conv(384, (3, 1)),)))
MODULE_8 = Inception(
    branches=(
        (conv(320),),
        (conv(384), BOTH_WAYS),
        (conv(448), conv(384, 3), BOTH_WAYS),
        (AVERAGE, conv(192)),
    )
)


def inception_v3() -> Architecture:
    """Two grid reductions between three kinds of module: figures 5, 6 and 7 of the paper."""
    stages = (
        *(Stage(block=module_35(pool)) for pool in (32, 64, 64)),
        Stage(block=REDUCTION_35, stride=2),
        *(Stage(block=module_17(inner)) for inner in (128, 160, 160, 192)),
        Stage(block=REDUCTION_17, stride=2),
        Stage(block=MODULE_8, depth=2),
    )
    return Architecture(
        resolution=299, classes=1000, stem=unpadded_stem(), stages=stages, head=Head(dropout=0.5), norm_eps=1e-3
    )
