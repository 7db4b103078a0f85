"""Layers as torch's, but for their gradients on CPUs, which torch computes slowly where these take another way.

Times are those of torch 2.15 on one core of an AMD EPYC (Zen 5), channels_last, for 128 images. The gradients equal
torch's up to rounding. On other devices, and without gradients, these are torch's own layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class StridedDepthwise(nn.Conv2d):
    """A depthwise convolution with a stride: in bfloat16 oneDNN takes 109 ms for the gradient of 64x32x32 inputs; in
    float32 6 ms.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float())


class GlobalAveragePool(nn.AdaptiveAvgPool2d):
    """The mean over all pixels: torch's gradient of it is not channels_last, which slows whatever comes before it down
    (adding it to another gradient of 64x32x32: 49 ms, 2 ms with this one).
    """

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type == "cpu" and input.requires_grad:
            return functional.avg_pool2d(input, (input.shape[-2], input.shape[-1]))
        return super().forward(input)


def concatenate(parts: Sequence[Tensor]) -> Tensor:
    """Beside each other as channels: the gradients of the parts are made dense, because elementwise kernels are slow
    over slices of a larger tensor (ReLU's of 16x32x32 in bfloat16: 12 ms; of a dense one 0.4 ms, 0.3 ms to make it).
    """
    for part in parts:
        if part.requires_grad and part.device.type == "cpu":
            part.register_hook(_dense)
    return torch.cat(list(parts), 1)


def _dense(gradient: Tensor) -> Tensor:
    return gradient.contiguous(memory_format=torch.channels_last) if gradient.ndim == 4 else gradient
