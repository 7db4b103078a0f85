"""EfficientNet (Tan and Le 2019), B0 written down and B1 to B7 scaled from it, and EfficientNetV2 (Tan and Le 2021)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from searchspace.architecture import Architecture, Head, Stage
from searchspace.blocks import Conv, MBConv
from searchspace.scaling import scale

# expansion, kernel size, stride, width, depth: table 1 of the paper
ROWS = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


class Variant(NamedTuple):
    """The published, hand-rounded coefficients of a member of the family, and its regularisation."""

    width: float
    depth: float
    resolution: int  # torchvision's crop: B2 was trained with 260 in the paper, its weights there are used at 288
    dropout: float
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1


VARIANTS = {
    "efficientnet_b1": Variant(1.0, 1.1, 240, 0.2),
    "efficientnet_b2": Variant(1.1, 1.2, 288, 0.3),
    "efficientnet_b3": Variant(1.2, 1.4, 300, 0.3),
    "efficientnet_b4": Variant(1.4, 1.8, 380, 0.4),
    "efficientnet_b5": Variant(1.6, 2.2, 456, 0.4, 1e-3, 0.01),
    "efficientnet_b6": Variant(1.8, 2.6, 528, 0.5, 1e-3, 0.01),
    "efficientnet_b7": Variant(2.0, 3.1, 600, 0.5, 1e-3, 0.01),
}


def efficientnet_b0() -> Architecture:
    stages = tuple(
        Stage(block=MBConv(width=width, kernel_size=kernel_size, expansion=expansion), depth=depth, stride=stride)
        for expansion, kernel_size, stride, width, depth in ROWS
    )
    return Architecture(
        resolution=224,
        classes=1000,
        stem=(Stage(block=Conv(width=32, activation="silu"), stride=2),),
        stages=stages,
        head=Head(blocks=(Stage(block=Conv(width=1280, kernel_size=1, activation="silu")),), dropout=0.2),
        drop_path=0.2,
    )


def efficientnet(variant: Variant) -> Architecture:
    """B0 scaled by the variant's coefficients."""
    scaled = scale(efficientnet_b0(), width=variant.width, depth=variant.depth, resolution=variant.resolution)
    return scaled.changed(
        head=scaled.head.model_copy(update={"dropout": variant.dropout}),
        norm_eps=variant.norm_eps,
        norm_momentum=variant.norm_momentum,
    )


# fused, expansion, stride, width, depth: table 4 of EfficientNetV2's paper
V2_S_ROWS = (
    (True, 1, 1, 24, 2),
    (True, 4, 2, 48, 4),
    (True, 4, 2, 64, 4),
    (False, 4, 2, 128, 6),
    (False, 6, 1, 160, 9),
    (False, 6, 2, 256, 15),
)


def efficientnet_v2_s() -> Architecture:
    """EfficientNetV2-S as torchvision builds it: fused blocks have no squeeze-excite, the last convolution 1280."""
    stages = tuple(
        Stage(
            block=MBConv(width=width, expansion=expansion, squeeze_excite=0.0 if fused else 0.25, fused=fused),
            depth=depth,
            stride=stride,
        )
        for fused, expansion, stride, width, depth in V2_S_ROWS
    )
    return Architecture(
        resolution=384,
        classes=1000,
        stem=(Stage(block=Conv(width=24, activation="silu"), stride=2),),
        stages=stages,
        head=Head(blocks=(Stage(block=Conv(width=1280, kernel_size=1, activation="silu")),), dropout=0.2),
        drop_path=0.2,
        norm_eps=1e-3,
    )


EFFICIENTNETS: dict[str, Callable[[], Architecture]] = {
    "efficientnet_b0": efficientnet_b0,
    **{name: partial(efficientnet, variant) for name, variant in VARIANTS.items()},
    "efficientnet_v2_s": efficientnet_v2_s,
}
