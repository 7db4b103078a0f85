"""Layers as torch's, but for their gradients on CPUs, which torch computes slowly where these take another way.

Times are those of torch 2.15 on one core of an AMD EPYC (Zen 5), channels_last, for 128 images. The gradients equal
torch's up to rounding. On other devices, and without gradients, these are torch's own layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

Pair = tuple[int, int]
WIDE = 3  # columns of a depthwise kernel whose gradient oneDNN is fast at
convolution_backward = torch.ops.aten.convolution_backward


class Depthwise(nn.Conv2d):
    """A convolution of each channel by itself, with its gradients found by way of what oneDNN is fast at.

    For 64x32x32 inputs in bfloat16 its own gradient of the inputs takes 216 ms with a stride of 2, and that of a 5x5
    kernel 179 ms: 7 and 20 ms here, as without stride and by kernels that are not wider than three.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type != "cpu" or not torch.is_grad_enabled():
            return super().forward(input)
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else input.dtype
        dtype = torch.float32 if max(self.stride) > 2 else dtype  # oneDNN is fast at no gradient of theirs in bfloat16
        with torch.autocast("cpu", enabled=False):
            geometry = self.stride, self.padding, self.dilation, self.groups
            y = _Depthwise.apply(input.to(dtype), self.weight.to(dtype), *geometry)
            return y if self.bias is None else y + self.bias.to(dtype)[:, None, None]


class _Depthwise(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair, groups: int
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = stride, padding, dilation, groups
        return functional.conv2d(x, weight, None, stride, padding, dilation, groups)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight = ctx.saved_tensors
        of_x, of_weight, *_ = ctx.needs_input_grad
        return (
            _of_inputs(gradient, x, weight, *ctx.geometry) if of_x else None,
            _of_kernel(gradient, x, weight, *ctx.geometry) if of_weight else None,
            *(None for _ in ctx.geometry),
        )


def _of_inputs(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Tensor:
    """In bfloat16 that of the convolution without stride, of whose other outputs the gradient is zero."""
    if max(stride) > 1 and x.dtype == torch.bfloat16:
        beside = [side + 2 * pad for side, pad in zip(x.shape[2:], padding, strict=True)]
        sides = [s - gap * (k - 1) for s, gap, k in zip(beside, dilation, weight.shape[2:], strict=True)]
        spread = torch.empty(*gradient.shape[:2], *sides, dtype=gradient.dtype, memory_format=torch.channels_last)
        spread.zero_()[:, :, :: stride[0], :: stride[1]] = gradient
        gradient, stride = spread, (1, 1)
    wanted = (True, False, False)
    return convolution_backward(gradient, x, weight, None, stride, padding, dilation, False, (0, 0), groups, wanted)[0]


def _of_kernel(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Tensor:
    """By kernels of three columns at most, each of which sees the inputs shifted as its columns are."""
    wanted = (False, True, False)

    def of(x: Tensor, columns: Tensor, padding: Pair) -> Tensor:
        return convolution_backward(
            gradient, x, columns, None, stride, padding, dilation, False, (0, 0), groups, wanted
        )[1]

    if weight.shape[3] <= WIDE:
        return of(x, weight, padding)
    parts = []
    for first in range(0, weight.shape[3], WIDE):
        columns = weight[..., first : first + WIDE]
        seen = (gradient.shape[3] - 1) * stride[1] + (columns.shape[3] - 1) * dilation[1] + 1
        left = padding[1] - first * dilation[1]
        parts.append(of(functional.pad(x, (left, seen - left - x.shape[3])), columns, (padding[0], 0)))
    return torch.cat(parts, 3)


class GlobalAveragePool(nn.AdaptiveAvgPool2d):
    """The mean over all pixels: torch's gradient of it takes 26 ms for 64x32x32 inputs, or is not channels_last, which
    slows whatever comes before it down; this one 0.4 ms.
    """

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type == "cpu" and input.requires_grad:
            return _Mean.apply(input)  # pyright: ignore[reportReturnType]  # torch's stubs have no type for it
        return super().forward(input)


class _Mean(Function):
    """Over all pixels of a map; its gradient lies in memory as the inputs do."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return functional.avg_pool2d(x, x.shape[2:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (x,) = ctx.saved_tensors
        return torch.empty_like(x).copy_(gradient / x.shape[2:].numel())


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
