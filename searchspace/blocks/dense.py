"""Dense blocks (Huang et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal, Self

from pydantic import Field
from torch import Tensor, nn

from searchspace.blocks.block import Block, BlockContext
from searchspace.cpu import AveragePool, concatenate
from searchspace.errors import ArchitectureError
from searchspace.layers import Normalised, convolution
from searchspace.record import ActivationName, KernelSize, NormName, Rate, Width
from searchspace.rounding import round_width


class Dense(Block):
    """A dense layer: its `growth_rate` new channels are concatenated to its input.

    `bottleneck` puts a 1x1 convolution to `bottleneck * growth_rate` channels before the spatial one (DenseNet-B; 0
    leaves it out). A stage that has a stride, or a `compression` below 1, begins with a transition: normalisation,
    activation, 1x1 convolution to `compression` of the channels, and average pooling by the stride (DenseNet-C).
    """

    kind: Literal["dense"] = "dense"
    growth_rate: Width
    bottleneck: int = Field(default=4, ge=0, le=64)
    compression: float = Field(default=1.0, gt=0.0, le=1.0)
    kernel_size: KernelSize = 3
    dropout: Rate = 0.0
    norm: NormName = "batch"
    activation: ActivationName = "relu"
    drops_path: ClassVar[bool] = False

    def out_channels(self, in_channels: int, index: int = 0) -> int:
        if self.kernel_size % 2 == 0:
            raise ArchitectureError(f"dense: kernel_size must be odd, given {self.kernel_size}")
        return (self.compressed(in_channels) if index == 0 else in_channels) + self.growth_rate

    def compressed(self, in_channels: int) -> int:
        """Channels after the transition."""
        return max(1, int(in_channels * self.compression))

    def build(self, in_channels: int, context: BlockContext) -> nn.Module:
        norm = context.norm(self.norm)
        layers: list[nn.Module] = []
        if context.stride > 1 or (context.index == 0 and self.compression < 1):
            layers += [
                Normalised(in_channels, norm, self.activation),
                convolution(in_channels, self.compressed(in_channels), 1),
            ]
            if context.stride > 1:
                layers.append(AveragePool(context.stride))
            in_channels = self.compressed(in_channels)
        return nn.Sequential(*layers, DenseLayer(self, in_channels, norm))

    def continues(self, previous: Block) -> bool:
        # Compression acts on the first block of a stage alone: the stage before may have one, this one may not.
        plain = previous.model_copy(update={"compression": 1.0}) if isinstance(previous, Dense) else previous
        return self.compression == 1 and super().continues(plain)

    def scaled(self, factor: float) -> Self:
        return self.model_copy(update={"growth_rate": round_width(self.growth_rate, factor)})


class DenseLayer(nn.Module):
    """concatenate(x, branch(x)) along the channels."""

    def __init__(self, block: Dense, in_channels: int, norm: Callable[[int], nn.Module] | None) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if block.bottleneck:
            inner = block.bottleneck * block.growth_rate
            layers += [Normalised(in_channels, norm, block.activation), convolution(in_channels, inner, 1)]
            in_channels = inner
        layers += [
            Normalised(in_channels, norm, block.activation),
            convolution(in_channels, block.growth_rate, block.kernel_size),
        ]
        if block.dropout:
            layers.append(nn.Dropout(block.dropout))
        self.branch = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return concatenate([x, self.branch(x)])
