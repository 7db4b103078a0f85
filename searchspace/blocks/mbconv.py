"""Inverted bottlenecks: MobileNetV2, MnasNet, EfficientNet and EfficientNetV2's fused form."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field
from torch import Tensor, nn

from searchspace.blocks.block import Block, BlockContext
from searchspace.errors import ArchitectureError
from searchspace.layers import convolution, drop_path, squeeze_excite
from searchspace.record import ActivationName, Fraction, KernelSize, NormName, Width
from searchspace.rounding import make_divisible, round_width


class MBConv(Block):
    """Expand by 1x1, depthwise convolution, squeeze-excite, project by 1x1 (Sandler et al. 2018; Tan et al. 2019).

    `expansion` multiplies the input width, as a multiple of 8; at 1 the expanding convolution is left out. The
    squeezed width is `squeeze_excite` of the block's input, as in EfficientNet. `fused` replaces expansion and
    depthwise convolution by one full convolution (Tan and Le 2021). The shortcut stands where the shape is kept.
    """

    kind: Literal["mbconv"] = "mbconv"
    width: Width
    kernel_size: KernelSize = 3
    expansion: float = Field(default=6.0, ge=1.0, le=16.0)
    squeeze_excite: Fraction = 0.25
    fused: bool = False
    norm: NormName = "batch"
    activation: ActivationName = "silu"

    def out_channels(self, in_channels: int, index: int = 0) -> int:
        if self.kernel_size % 2 == 0:
            raise ArchitectureError(f"mbconv: kernel_size must be odd, given {self.kernel_size}")
        return self.width

    def expanded(self, in_channels: int) -> int:
        return in_channels if self.expansion == 1 else make_divisible(in_channels * self.expansion)

    def build(self, in_channels: int, context: BlockContext) -> nn.Module:
        return InvertedBottleneck(self, in_channels, context)

    def scaled(self, factor: float) -> Self:
        return self.model_copy(update={"width": round_width(self.width, factor)})


class InvertedBottleneck(nn.Module):
    """project(excite(spatial(expand(x)))), plus x where the shape is kept."""

    def __init__(self, block: MBConv, in_channels: int, context: BlockContext) -> None:
        super().__init__()
        norm = context.norm(block.norm)
        inner = block.expanded(in_channels)
        name = block.activation
        spatial = {"stride": context.stride, "norm": norm, "activation": name}
        layers: list[nn.Module] = []
        if block.fused:
            out = block.width if block.expansion == 1 and not block.squeeze_excite else inner
            layers.append(convolution(in_channels, out, block.kernel_size, **spatial))
        else:
            if block.expansion != 1:
                layers.append(convolution(in_channels, inner, 1, norm=norm, activation=name))
            layers.append(convolution(inner, inner, block.kernel_size, groups=inner, **spatial))
            out = inner
        if block.squeeze_excite:
            layers.append(squeeze_excite(inner, block.squeeze_excite, in_channels, name))
        if not (block.fused and block.expansion == 1 and not block.squeeze_excite):
            layers.append(convolution(out, block.width, 1, norm=norm))
        self.layers = nn.Sequential(*layers)
        self.keeps_shape = context.stride == 1 and in_channels == block.width
        self.drop_path = drop_path(context.drop_path if self.keeps_shape else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return x + self.drop_path(y) if self.keeps_shape else y
