"""Convolutions over narrow maps on CPUs with AMX: several images beside each other in one wide map.

Such CPUs sum 32 products of bfloat16 at once, and oneDNN (3.13, of torch 2.15) takes those of a weight's gradient from
columns of one row: on maps of 4 columns most of what is computed is padding. The gradient of a 3x3 kernel between 512
channels takes 94 ms over 128 maps of 4x4, and 23 ms over the same maps with 32 beside each other, where forward pass
and gradient of the inputs are two to three times as fast as well. On other CPUs nothing is gained.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

AT_ONCE = 128  # columns of images beside each other
NARROW = 10  # columns of the outputs up to which this pays
NARROW_POINTWISE = 4  # and those of 1x1 kernels
WORK = 48  # input times output channels for each column squared, from which the products outweigh the copies


class Convolution(nn.Conv2d):
    """torch's convolution, but for narrow maps that are trained in bfloat16 on a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type != "cpu" or not torch.is_grad_enabled() or not self._narrow(input):
            return super().forward(input)
        images, _, rows, columns = input.shape
        if self.kernel_size == (1, 1) and self.stride == (1, 1):
            count = _divisor(images, AT_ONCE // (rows * columns))
            y = super().forward(_as_rows(input, (images // count, 1, count * rows * columns)))
            return _as_rows(y, (images, rows, columns))
        stride, outputs = self.stride[1], (columns - 1) // self.stride[1] + 1
        count = _divisor(images, AT_ONCE // outputs)
        beyond = self.dilation[1] * (self.kernel_size[1] // 2)  # columns that an output sees on either side
        place = -(-(columns + beyond) // stride)  # in outputs: no image is within sight of another
        y = super().forward(_Lay.apply(input, count, place * stride))  # pyright: ignore[reportArgumentType]
        return _Lift.apply(y, count, outputs)  # pyright: ignore[reportReturnType]

    def _narrow(self, x: Tensor) -> bool:
        """Also that it keeps as many columns as a stride leaves, as places beside each other do."""
        bfloat16 = torch.is_autocast_enabled("cpu") or x.dtype == torch.bfloat16
        outputs = (x.shape[3] - 1) // self.stride[1] + 1
        most = NARROW_POINTWISE if self.kernel_size == (1, 1) else NARROW
        return (
            bfloat16
            and outputs <= most
            and self.in_channels * self.out_channels >= WORK * outputs**2
            and self.kernel_size[1] % 2 == 1
            and self.padding[1] == self.dilation[1] * (self.kernel_size[1] // 2)
            and x.is_contiguous(memory_format=torch.channels_last)
        )


def _divisor(images: int, most: int) -> int:
    return max(count for count in range(1, max(1, most) + 1) if images % count == 0)


def _as_rows(x: Tensor, sides: tuple[int, int, int]) -> Tensor:
    """The same memory, taken for so many images, rows and columns."""
    return x.permute(0, 2, 3, 1).reshape(*sides, x.shape[1]).permute(0, 3, 1, 2)


class _Lay(Function):
    """(N, C, H, W) to (N / count, C, H, count * place): images beside each other, with zeros between."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, count: int, place: int) -> Tensor:
        ctx.undo = count, x.shape[3]
        return _lay(x, count, place)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _lift(gradient, *ctx.undo), None, None


class _Lift(Function):
    """Back, of each place the first columns."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, count: int, columns: int) -> Tensor:
        ctx.undo = count, x.shape[3] // count
        return _lift(x, count, columns)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _lay(gradient, *ctx.undo), None, None


def _lay(x: Tensor, count: int, place: int) -> Tensor:
    images, channels, rows, columns = x.shape
    laid = x.new_empty((images // count, rows, count, place, channels))
    laid[..., columns:, :].zero_()
    laid[..., :columns, :] = x.permute(0, 2, 3, 1).reshape(-1, count, rows, columns, channels).transpose(1, 2)
    return laid.view(images // count, rows, count * place, channels).permute(0, 3, 1, 2)


def _lift(x: Tensor, count: int, columns: int) -> Tensor:
    groups, channels, rows, _ = x.shape
    places = x.permute(0, 2, 3, 1).reshape(groups, rows, count, -1, channels)
    return places[..., :columns, :].transpose(1, 2).reshape(-1, rows, columns, channels).permute(0, 3, 1, 2)
