"""LeNet-5 (LeCun et al. 1998) in its modern form."""

from __future__ import annotations

from searchspace.architecture import Architecture, Head, Stage
from searchspace.blocks import Conv, Pool


def lenet5() -> Architecture:
    """61,706 parameters over 32x32 grey images: digits of 28x28 with a margin of two pixels.

    LeCun's network has 60,000: its second convolution sees only 3, 4 or 6 of the six maps (table I of the paper), its
    pools have a weight and a bias for each map and a tanh, and its output layer compares with fixed images of the
    digits (radial basis functions) in place of a linear layer with 10 logits.
    """

    def convolution(width: int) -> Stage:
        return Stage(block=Conv(width=width, kernel_size=5, padding=0, bias=True, norm="none", activation="tanh"))

    pool = Stage(block=Pool(operation="average", kernel_size=2), stride=2)
    return Architecture(
        channels=1,
        resolution=32,
        classes=10,
        stages=(convolution(6), pool, convolution(16), pool),
        head=Head(pool_size=5, hidden=(120, 84), activation="tanh"),
    )
