"""Layers as torch's, but for gradients that torch computes slowly or wrongly on CPUs, which take another way here.

Times are those of torch 2.15 on one core of an AMD EPYC (Zen 5), channels_last, for 128 images. The gradients equal
torch's up to rounding. On other devices, and without gradients, these are torch's own layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

from searchspace.narrow_maps import Convolution

Pair = tuple[int, int]
WIDE = 3  # columns of a depthwise kernel whose gradient oneDNN is fast at
BLOCK = 16  # channels that oneDNN computes at once
convolution_backward = torch.ops.aten.convolution_backward


def has_amx() -> bool:
    """Whether the CPU multiplies matrices of bfloat16 by AMX, as Intel Xeons from the fourth generation on do."""
    capabilities = getattr(torch.cpu, "get_capabilities", dict)  # torch 2.10 cannot tell
    return bool(capabilities().get("amx_bf16"))


AMX = has_amx()


def convolution_class(
    in_channels: int, kernel_size: Pair, stride: int, padding: int | Pair, groups: int
) -> type[nn.Conv2d]:
    """torch's, unless its gradients are slow or wrong for the like."""
    if groups == in_channels > 1:
        return Depthwise
    skips = kernel_size == (1, 1) and padding in (0, (0, 0)) and stride > 1
    if skips and groups == 1 and in_channels < BLOCK:
        return Pointwise
    return Convolution if AMX else nn.Conv2d


class Depthwise(nn.Conv2d):
    """A convolution of each input channel by itself, with its gradients found by way of what oneDNN is fast at.

    For 64x32x32 inputs in bfloat16 its own gradient of the inputs takes 216 ms with a stride of 2, and that of a 5x5
    kernel 179 ms: 7 and 20 ms here, as without stride and by kernels that are not wider than three.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type != "cpu" or not torch.is_grad_enabled():
            return super().forward(input)
        x, weight = input, self.weight
        if torch.is_autocast_enabled("cpu"):
            # of a larger stride no gradient in bfloat16 is fast
            dtype = torch.get_autocast_dtype("cpu") if max(self.stride) <= 2 else torch.float32
            x, weight = x.to(dtype), weight.to(dtype)
        with torch.autocast("cpu", enabled=False):
            y = _Depthwise.apply(x, weight, self.stride, self.padding, self.dilation, self.groups)
            return y if self.bias is None else y + self.bias.to(y.dtype)[:, None, None]


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
    """By kernels of three columns at most, each of which sees the inputs shifted as its columns are; where a kernel is
    taller than the inputs, these with their padding, which oneDNN is as slow to add.
    """
    wanted = (False, True, False)

    def of(x: Tensor, columns: Tensor, padding: Pair) -> Tensor:
        return convolution_backward(
            gradient, x, columns, None, stride, padding, dilation, False, (0, 0), groups, wanted
        )[1]

    rows, columns = weight.shape[2:]
    tall = rows > x.shape[2]
    if columns <= WIDE and not tall:
        return of(x, weight, padding)
    above = padding[0] if tall else 0
    padded = functional.pad(x, (padding[1], padding[1], above, above))
    parts = []
    for first in range(0, columns, WIDE):
        part = weight[..., first : first + WIDE]
        start, length = first * dilation[1], (gradient.shape[3] - 1) * stride[1] + (part.shape[3] - 1) * dilation[1] + 1
        parts.append(of(padded[..., start : start + length], part, (padding[0] - above, 0)))
    return torch.cat(parts, 3)


class Pointwise(nn.Conv2d):
    """A strided 1x1 convolution, of the pixels that it meets alone.

    oneDNN's weight gradient of one with fewer than 16 input channels, channels_last and in float32, writes beyond its
    memory where it goes through a map in parts (torch 2.15, oneDNN 3.13): maps of 56x56 pixels end the process.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type != "cpu" or not torch.is_grad_enabled():
            return super().forward(input)
        down, right = self.stride
        return functional.conv2d(input[:, :, ::down, ::right], self.weight, self.bias)


class AveragePool(nn.AvgPool2d):
    """The means of windows beside each other, or of one around every pixel: the gradients are spread in one go, or are
    means around every pixel themselves. Of 3x3 in 32x32x32 inputs torch's take 17 ms; 6 here.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type != "cpu" or not input.requires_grad:
            return super().forward(input)
        side = self.kernel_size
        assert isinstance(side, int)
        if self.stride == side and self.padding == 0 and not any(length % side for length in input.shape[2:]):
            return _tile_means(input, (side, side))
        if self.stride == 1 and self.padding == side // 2 and side % 2 == 1:
            return _MeansAround.apply(input, side, self.count_include_pad)  # pyright: ignore[reportReturnType]
        return super().forward(input)


class GlobalAveragePool(nn.AdaptiveAvgPool2d):
    """The mean over all pixels: torch's gradient of it takes 26 ms for 64x32x32 inputs, or is not channels_last, which
    slows whatever comes before it down; this one 0.4 ms.
    """

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type == "cpu" and input.requires_grad:
            return _tile_means(input, (input.shape[2], input.shape[3]))
        return super().forward(input)


def _tile_means(x: Tensor, tile: Pair) -> Tensor:
    return _TileMeans.apply(x, tile)  # pyright: ignore[reportReturnType]  # torch's stubs have no type for it


class _TileMeans(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, tile: Pair) -> Tensor:
        ctx.tile, ctx.memory_format = tile, _memory_format(x)
        return functional.avg_pool2d(x, tile)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        images, channels, rows, columns = gradient.shape
        height, width = ctx.tile
        sides = rows * height, columns * width
        of_x = torch.empty(images, channels, *sides, dtype=gradient.dtype, memory_format=ctx.memory_format)
        parts = (gradient / (height * width))[:, :, :, None, :, None]
        of_x.view(images, channels, rows, height, columns, width).copy_(parts)
        return of_x, None


class _MeansAround(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, side: int, count_padding: bool) -> Tensor:
        ctx.side, ctx.count_padding, ctx.memory_format = side, count_padding, _memory_format(x)
        return functional.avg_pool2d(x, side, 1, side // 2, count_include_pad=count_padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        around = partial(functional.avg_pool2d, kernel_size=ctx.side, stride=1, padding=ctx.side // 2)
        if not ctx.count_padding:  # the means are sums over fewer pixels at the borders
            gradient = gradient / around(torch.ones_like(gradient[:1, :1]))
        return around(gradient.contiguous(memory_format=ctx.memory_format)), None, None


def _memory_format(x: Tensor) -> torch.memory_format:
    last = x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


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
