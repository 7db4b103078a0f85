"""Networks that train in seconds on two CPU cores."""

from __future__ import annotations

from searchspace.architecture import Architecture
from searchspace.space import Choices, Dimension, SearchSpace, Task, scaling_dimensions
from searchspace.spaces.families import stage_dimensions
from searchspace.spaces.skeleton import assemble

EARLY = ("residual", "conv", "inception", "mbconv", "fused_mbconv")
LATE = (*EARLY, "dense")  # too few channels in stage 1 to begin at and grow from
STAGES = 3


def body(choices: Choices, task: Task) -> Architecture:
    """Three stages."""
    return assemble(choices, task, stages=STAGES)


TINY = SearchSpace(
    name="tiny",
    summary="three small stages; seconds a trial on 2 cores, up to a ResNet-20 of 16, 32 and 64 channels",
    dimensions=(
        Dimension("activation", ("relu", "silu")),
        *stage_dimensions(1, EARLY, (8, 16), (1, 2), {}),
        *stage_dimensions(2, LATE, (16, 24, 32), (1, 2), {}),
        *stage_dimensions(3, LATE, (32, 48, 64), (1, 2), {}),
        *scaling_dimensions((0.0, 0.5), ("depth", "width")),
    ),
    body=body,
)
