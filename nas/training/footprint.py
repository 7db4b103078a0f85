"""How many bytes of tensors a training holds at its peak, by estimate."""

from __future__ import annotations

from searchspace import Cost

MOMENTS = {"muon": 1, "sgd": 1, "adam": 2}
KEPT = 3.0
"""Values for each output of a convolution or linear layer: the output, the normalised output, and a gradient of either
while the backward pass is there. See docs/benchmarks.md for what was measured."""


def training_bytes(cost: Cost, batch_size: int, *, optimizer: str = "sgd", bfloat16: bool = False) -> int:
    """Weights, gradients and the optimizer's moments in float32, and `KEPT` values for each activation of a batch.

    Data, torch itself and a device's context come on top.
    """
    weights = 4 * cost.params * (2 + MOMENTS[optimizer])
    return round(weights + KEPT * (2 if bfloat16 else 4) * cost.activations * batch_size)
