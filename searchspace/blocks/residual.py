"""Residual blocks: basic, bottleneck, pre-activation, wide, and ResNeXt's cardinality."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Self

from pydantic import Field
from torch import Tensor, nn

from searchspace.blocks.block import Block, BlockContext
from searchspace.errors import ArchitectureError
from searchspace.layers import Normalised, activation, convolution, drop_path, squeeze_excite, zero_last_norm
from searchspace.record import ActivationName, Fraction, Groups, KernelSize, NormName, Width
from searchspace.rounding import round_width


class Residual(Block):
    """A residual block (He et al. 2015): two convolutions, or three when `bottleneck` gives the inner width's ratio.

    `width` is the output width (256 for ResNet-50's first stage, whose inner width is 64: ratio 0.25). Wide networks
    raise `width` (Zagoruyko 2016) or the ratio (torchvision's wide_resnet50_2: 0.5); `cardinality` groups the inner
    convolution (Xie et al. 2017). The stride is in the first spatial convolution. `preactivation` is He et al. 2016.
    Where the shape changes, the shortcut is a 1x1 projection or, without parameters, `padding`: every stride-th pixel,
    and zeros for the channels that are new (option A of He et al. 2015, their networks for CIFAR).
    """

    kind: Literal["residual"] = "residual"
    width: Width
    kernel_size: KernelSize = 3
    bottleneck: float | None = Field(default=None, gt=0.0, le=4.0)
    cardinality: Groups = 1
    preactivation: bool = False
    shortcut: Literal["projection", "padding"] = "projection"
    squeeze_excite: Fraction = 0.0
    norm: NormName = "batch"
    activation: ActivationName = "relu"

    def out_channels(self, in_channels: int, index: int = 0) -> int:
        if self.kernel_size % 2 == 0:
            raise ArchitectureError(f"residual: kernel_size must be odd, given {self.kernel_size}")
        if self.cardinality > 1 and self.bottleneck is None:
            raise ArchitectureError("residual: cardinality needs a bottleneck ratio (ResNeXt groups the inner layer)")
        if self.shortcut == "padding" and in_channels > self.width:
            raise ArchitectureError(
                f"residual: a padding shortcut adds channels and cannot lead from {in_channels} to {self.width}: "
                f"use a width of at least {in_channels}, or a projection"
            )
        return self.width

    @property
    def inner_width(self) -> int:
        """Channels of the inner convolution: the bottleneck's share of the width, a multiple of the cardinality."""
        if self.bottleneck is None:
            return self.width
        return max(1, int(self.width * self.bottleneck / self.cardinality + 0.5)) * self.cardinality

    def build(self, in_channels: int, context: BlockContext) -> nn.Module:
        return (PreactivationResidual if self.preactivation else PostactivationResidual)(self, in_channels, context)

    def scaled(self, factor: float) -> Self:
        return self.model_copy(update={"width": round_width(self.width, factor)})

    def fitted(self, in_channels: int) -> Self:
        """With a projection where scaling made the input wider than the block, which padding cannot narrow."""
        return self if in_channels <= self.width else self.model_copy(update={"shortcut": "projection"})

    def continues(self, previous: Block) -> bool:
        # Blocks behind the first of a stage keep the shape: what their shortcuts would be has no effect.
        alike = previous.model_copy(update={"shortcut": self.shortcut}) if isinstance(previous, Residual) else previous
        return super().continues(alike)


def layer_plan(block: Residual, stride: int) -> list[tuple[int, int, int, int]]:
    """(output width, kernel size, stride, groups) of each convolution of the branch."""
    if block.bottleneck is None:
        return [(block.width, block.kernel_size, stride, 1), (block.width, block.kernel_size, 1, 1)]
    inner = block.inner_width
    return [(inner, 1, 1, 1), (inner, block.kernel_size, stride, block.cardinality), (block.width, 1, 1, 1)]


def changing_shortcut(
    block: Residual, in_channels: int, stride: int, norm: Callable[[int], nn.Module] | None
) -> nn.Module | None:
    """The shortcut of a block that changes the shape, its projection normalised by `norm`; None where it is kept."""
    if stride == 1 and in_channels == block.width:
        return None
    if block.shortcut == "padding":
        return PaddingShortcut(block.width - in_channels, stride)
    return convolution(in_channels, block.width, 1, stride=stride, norm=norm)


class PaddingShortcut(nn.Module):
    """Every `stride`-th pixel, followed by `added` channels of zeros."""

    def __init__(self, added: int, stride: int) -> None:
        super().__init__()
        self.added = added
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))


class PostactivationResidual(nn.Module):
    """activation(branch(x) + shortcut(x)); the branch's last normalisation starts at zero."""

    def __init__(self, block: Residual, in_channels: int, context: BlockContext) -> None:
        super().__init__()
        norm = context.norm(block.norm)
        plan = layer_plan(block, context.stride)
        layers: list[nn.Module] = []
        channels = in_channels
        for number, (width, kernel_size, stride, groups) in enumerate(plan):
            name = block.activation if number < len(plan) - 1 else "none"
            layers.append(
                convolution(channels, width, kernel_size, stride=stride, groups=groups, norm=norm, activation=name)
            )
            channels = width
        if block.squeeze_excite:
            layers.append(squeeze_excite(channels, block.squeeze_excite, channels, block.activation))
        self.branch = nn.Sequential(*layers)
        shortcut = changing_shortcut(block, in_channels, context.stride, norm)
        self.shortcut = nn.Identity() if shortcut is None else shortcut
        self.drop_path = drop_path(context.drop_path)
        self.activation = activation(block.activation)
        zero_last_norm(self.branch)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.drop_path(self.branch(x)) + self.shortcut(x))


class PreactivationResidual(nn.Module):
    """branch(x) + shortcut(x), each convolution after its normalisation and activation; the output is not activated.

    Where the shape changes, the shortcut starts from the activated input, as in He et al. 2016 and wide networks.
    """

    def __init__(self, block: Residual, in_channels: int, context: BlockContext) -> None:
        super().__init__()
        norm = context.norm(block.norm)
        self.activate = Normalised(in_channels, norm, block.activation)
        layers: list[nn.Module] = []
        channels = in_channels
        for number, (width, kernel_size, stride, groups) in enumerate(layer_plan(block, context.stride)):
            if number:
                layers.append(Normalised(channels, norm, block.activation))
            layers.append(convolution(channels, width, kernel_size, stride=stride, groups=groups))
            channels = width
        if block.squeeze_excite:
            layers.append(squeeze_excite(channels, block.squeeze_excite, channels, block.activation))
        self.branch = nn.Sequential(*layers)
        self.shortcut = changing_shortcut(block, in_channels, context.stride, norm=None)
        self.drop_path = drop_path(context.drop_path)

    def forward(self, x: Tensor) -> Tensor:
        activated = self.activate(x)
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        return shortcut + self.drop_path(self.branch(activated))
