"""Inverted bottlenecks and separable convolutions in MnasNet's style: 0.05 to 8 million parameters."""

from __future__ import annotations

from searchspace.architecture import Architecture
from searchspace.space import Choices, Dimension, Option, SearchSpace, Task, scaling_dimensions
from searchspace.spaces.families import stage_dimensions
from searchspace.spaces.skeleton import assemble

LATE = ("mbconv", "separable")
EARLY = (*LATE, "fused_mbconv")
OPTIONS: dict[str, tuple[Option, ...]] = {
    "kernel_size": (3, 5),
    "expansion": (3, 6),  # MnasNet's
    "fused_expansion": (1, 2, 4),
}


def body(choices: Choices, task: Task) -> Architecture:
    """Four or five stages, and EfficientNet's 1x1 convolution before the classifier."""
    return assemble(
        choices,
        task,
        stages=int(choices["stages"]),
        stem_width=int(choices["stem/width"]),
        head_width=int(choices["head/width"]),
    )


MOBILE = SearchSpace(
    name="mobile",
    summary="MBConv, fused MBConv and separable convolutions, few multiply-adds; 0.05 to 8 M parameters",
    dimensions=(
        Dimension("activation", ("relu", "silu", "hardswish")),
        Dimension("squeeze_excite", (False, True)),
        Dimension("drop_path", (0.0, 0.1, 0.2), ordered=True),
        Dimension("dropout", (0.0, 0.2), ordered=True),
        Dimension("stem/width", (16, 24, 32), ordered=True),
        Dimension("stages", (4, 5), ordered=True),
        *stage_dimensions(1, EARLY, (16, 24, 32), (1, 2), OPTIONS),
        *stage_dimensions(2, EARLY, (24, 32, 40, 48), (1, 2, 3), OPTIONS),
        *stage_dimensions(3, EARLY, (48, 64, 80), (1, 2, 3), OPTIONS),
        *stage_dimensions(4, LATE, (80, 96, 112, 128), (1, 2, 3), OPTIONS),
        *stage_dimensions(5, LATE, (128, 160, 192), (1, 2), OPTIONS, when=("stages", (5,))),
        Dimension("head/width", (384, 512, 640, 768), ordered=True),
        *scaling_dimensions((0.0, 0.5, 1.0), ("balanced", "width", "even", "resolution")),
    ),
    body=body,
)
