"""Convolution (LeNet, AlexNet, VGG; grouped, dilated, depthwise-separable) and pooling."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import ClassVar, Literal, Self

from pydantic import Field
from torch import nn

from searchspace.blocks.block import Block, BlockContext
from searchspace.cpu import AveragePool
from searchspace.errors import ArchitectureError
from searchspace.layers import convolution, squeeze_excite
from searchspace.record import ActivationName, Fraction, Groups, KernelSize, NormName, Padding, Width
from searchspace.rounding import round_width


class Conv(Block):
    """Convolution, normalisation, activation.

    `separable` makes it depthwise then pointwise, each normalised and activated (Howard et al. 2017, MobileNet).
    `padding=None` keeps the size at stride 1. `bias` may stand beside a normalisation, as in torchvision's VGG.
    """

    kind: Literal["conv"] = "conv"
    width: Width
    kernel_size: KernelSize = 3
    groups: Groups = 1
    dilation: int = Field(default=1, ge=1, le=16)
    separable: bool = False
    padding: Padding | None = None
    bias: bool = False
    squeeze_excite: Fraction = 0.0
    norm: NormName = "batch"
    activation: ActivationName = "relu"
    drops_path: ClassVar[bool] = False

    def out_channels(self, in_channels: int, index: int = 0) -> int:
        if not self.separable and (in_channels % self.groups or self.width % self.groups):
            raise ArchitectureError(
                f"conv of {in_channels} to {self.width} channels: groups {self.groups} must divide both"
            )
        return self.width

    def build(self, in_channels: int, context: BlockContext) -> nn.Module:
        norm = context.norm(self.norm)
        spatial = in_channels if self.separable else self.width
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv=convolution(
                in_channels,
                spatial,
                self.kernel_size,
                stride=context.stride,
                padding=self.padding,
                groups=in_channels if self.separable else self.groups,
                dilation=self.dilation,
                bias=self.bias,
                norm=norm,
                activation=self.activation,
            )
        )
        if self.separable:
            layers["pointwise"] = convolution(
                in_channels, self.width, 1, bias=self.bias, norm=norm, activation=self.activation
            )
        if self.squeeze_excite:
            layers["excite"] = squeeze_excite(self.width, self.squeeze_excite, self.width, self.activation)
        return nn.Sequential(layers)

    def scaled(self, factor: float) -> Self:
        return self.model_copy(update={"width": round_width(self.width, factor)})

    def fitted(self, in_channels: int) -> Self:
        shared = math.gcd(in_channels, self.width)
        groups = max(divisor for divisor in range(1, min(shared, self.groups) + 1) if shared % divisor == 0)
        return self if self.separable else self.model_copy(update={"groups": groups})

    def normal(self) -> Self:
        dilation = 1 if self.kernel_size == 1 else self.dilation
        padding = None if self.padding == (self.kernel_size - 1) // 2 * dilation else self.padding
        groups = 1 if self.separable else self.groups
        return self.model_copy(update={"dilation": dilation, "padding": padding, "groups": groups})


class Pool(Block):
    """Max or average pooling with the stage's stride; `padding=None` is half the kernel.

    `count_include_pad` counts padded zeros in an average, as torch does; TensorFlow averages the image's pixels alone.
    """

    kind: Literal["pool"] = "pool"
    operation: Literal["max", "average"] = "max"
    kernel_size: KernelSize = 2
    padding: Padding | None = None
    ceil_mode: bool = False
    count_include_pad: bool = True
    repeatable: ClassVar[bool] = False
    drops_path: ClassVar[bool] = False
    norm: ClassVar[NormName] = "none"

    def out_channels(self, in_channels: int, index: int = 0) -> int:
        check_pool_padding(self.kernel_size, self.padding)
        return in_channels

    def build(self, in_channels: int, context: BlockContext) -> nn.Module:
        return pooling(
            self.operation,
            self.kernel_size,
            context.stride,
            self.padding,
            ceil_mode=self.ceil_mode,
            count_include_pad=self.count_include_pad,
        )

    def normal(self) -> Self:
        update = normal_pool(self.operation, self.kernel_size, self.padding, self.count_include_pad)
        return self.model_copy(update=update)


def check_pool_padding(kernel_size: int, padding: int | None) -> None:
    if padding is not None and padding > kernel_size // 2:
        raise ArchitectureError(f"pool: padding {padding} must not exceed half the kernel size {kernel_size}")


def pooling(
    operation: str,
    kernel_size: int,
    stride: int,
    padding: int | None,
    *,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> nn.Module:
    padding = (kernel_size - 1) // 2 if padding is None else padding
    if operation == "max":
        return nn.MaxPool2d(kernel_size, stride, padding, ceil_mode=ceil_mode)
    return AveragePool(kernel_size, stride, padding, ceil_mode, count_include_pad)


def normal_pool(
    operation: str, kernel_size: int, padding: int | None, count_include_pad: bool
) -> dict[str, int | bool | None]:
    """A pool's fields without effect at their defaults: the default padding, and counting padding that is not there."""
    default = (kernel_size - 1) // 2
    padding = None if padding == default else padding
    averaged = operation == "average" and (default if padding is None else padding) > 0
    return {"padding": padding, "count_include_pad": count_include_pad if averaged else True}
