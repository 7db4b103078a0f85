"""AlexNet (Krizhevsky 2014), the one-tower form of Krizhevsky et al. 2012, as torchvision builds it."""

from __future__ import annotations

from searchspace.architecture import Architecture, Head, Stage
from searchspace.blocks import Conv, Pool


def alexnet() -> Architecture:
    """Five convolutions without normalisation and two hidden layers of 4096, with dropout before each of those."""

    def convolution(width: int, kernel_size: int = 3, padding: int | None = None) -> Conv:
        return Conv(width=width, kernel_size=kernel_size, padding=padding, bias=True, norm="none")

    pool = Stage(block=Pool(kernel_size=3, padding=0), stride=2)
    stem = (Stage(block=convolution(64, 11, padding=2), stride=4), pool)
    stages = (
        Stage(block=convolution(192, 5)),
        pool,
        Stage(block=convolution(384)),
        Stage(block=convolution(256), depth=2),
        pool,
    )
    head = Head(pool_size=6, hidden=(4096, 4096), dropout=0.5, dropout_place="before")
    return Architecture(resolution=224, classes=1000, stem=stem, stages=stages, head=head)
