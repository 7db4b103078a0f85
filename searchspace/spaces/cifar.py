"""All families, mixed stage by stage, for images of about 32 pixels: 0.05 to 20 million parameters."""

from __future__ import annotations

from searchspace.architecture import Architecture
from searchspace.space import Choices, Dimension, Option, SearchSpace, Task, scaling_dimensions
from searchspace.spaces.families import stage_dimensions
from searchspace.spaces.skeleton import assemble

LATE = ("residual", "bottleneck", "conv", "separable", "inception", "inception_residual", "dense", "mbconv")
EARLY = (*LATE, "fused_mbconv")  # EfficientNetV2 fuses early stages alone
OPTIONS: dict[str, tuple[Option, ...]] = {
    "preactivation": (False, True),
    "cardinality": (1, 4, 8),
    "branches": ("v1", "factorised", "asymmetric"),
    "kernel_size": (3, 5),
    "expansion": (2, 4, 6),
    "fused_expansion": (1, 2),
}


def body(choices: Choices, task: Task) -> Architecture:
    """Three or four stages."""
    return assemble(choices, task, stages=int(choices["stages"]))


CIFAR = SearchSpace(
    name="cifar",
    summary="every block family, stage by stage, at the images' own 32 pixels; 0.05 to 20 M parameters",
    dimensions=(
        Dimension("activation", ("relu", "silu", "gelu")),
        Dimension("squeeze_excite", (False, True)),
        Dimension("drop_path", (0.0, 0.1, 0.2), ordered=True),
        Dimension("dropout", (0.0, 0.2), ordered=True),
        Dimension("channel_boosting", ("none", "autoencoder")),
        Dimension("stages", (3, 4), ordered=True),
        *stage_dimensions(1, EARLY, (32, 48, 64), (1, 2, 3), OPTIONS),
        *stage_dimensions(2, EARLY, (64, 96, 128), (1, 2, 3), OPTIONS),
        *stage_dimensions(3, LATE, (160, 192, 224, 256), (1, 2), OPTIONS),
        *stage_dimensions(4, LATE, (128, 160, 192), (1, 2), OPTIONS, when=("stages", (4,))),
        *scaling_dimensions((0.0, 0.5, 1.0, 1.5), ("wide", "width", "even", "balanced")),
    ),
    body=body,
)
