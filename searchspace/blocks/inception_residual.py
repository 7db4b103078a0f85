"""Inception-residual blocks (Szegedy et al. 2016): the branches' concatenation as the residual of a shortcut."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field
from torch import Tensor, nn

from searchspace.blocks.block import Block, BlockContext
from searchspace.blocks.branches import (
    Branch,
    Branches,
    branch_width,
    normal_branch,
    scale_branch,
    shrinkage,
    with_channels,
)
from searchspace.errors import ArchitectureError
from searchspace.layers import activation, convolution, drop_path, squeeze_excite
from searchspace.record import ActivationName, Fraction, NormName, Width
from searchspace.rounding import round_width


class InceptionResidual(Block):
    """activation(shortcut + residual_scale * convolution(concatenated branches)), of `width` channels.

    The 1x1 convolution has a bias and no normalisation, so the scale (0.1 to 0.3 in the paper) keeps the sum stable.
    With `bottleneck` the branches' layer widths are shares: each is scaled so that their outputs sum to about this
    share of `width`, rounded to 8; without it they are channels. `output_activation=False` leaves the last activation
    out, as in the last block of the paper's network. The paper keeps width and size; where they change, the shortcut is
    a normalised 1x1 projection as in `Residual`, and the stride goes into the branches as in `Inception`.
    """

    kind: Literal["inception_residual"] = "inception_residual"
    width: Width
    branches: tuple[Branch, ...] = Field(min_length=1, max_length=8)
    bottleneck: float | None = Field(default=None, gt=0.0, le=4.0)
    residual_scale: float = Field(default=0.2, gt=0.0, le=1.0)
    output_activation: bool = True
    squeeze_excite: Fraction = 0.0
    norm: NormName = "batch"
    activation: ActivationName = "relu"

    def out_channels(self, in_channels: int, index: int = 0) -> int:
        rows, columns = shrinkage(self.branches)
        if (rows, columns) != (0, 0):
            raise ArchitectureError(
                f"inception_residual: branches must keep the image's size for the shortcut; they take off "
                f"{rows}x{columns} pixels: use odd kernels and no `padding`"
            )
        return self.width

    def explicit(self) -> Self:
        """This block with the channels that its branches' shares stand for."""
        if self.bottleneck is None:
            return self
        branches = with_channels(self.branches, self.width * self.bottleneck)
        return self.model_copy(update={"branches": branches, "bottleneck": None})

    def build(self, in_channels: int, context: BlockContext) -> nn.Module:
        return InceptionResidualSum(self.explicit(), in_channels, context)

    def scaled(self, factor: float) -> Self:
        width = round_width(self.width, factor)
        if self.bottleneck is not None:
            return self.model_copy(update={"width": width})
        branches = tuple(scale_branch(branch, factor, round_width) for branch in self.branches)
        return self.model_copy(update={"width": width, "branches": branches})

    def normal(self) -> Self:
        block = self.explicit()
        branches = tuple(normal_branch(branch) for branch in block.branches)
        activated = block.output_activation or block.activation == "none"
        return block.model_copy(update={"branches": branches, "output_activation": activated})


class InceptionResidualSum(nn.Module):
    """The module of a block whose branches' widths are channels."""

    def __init__(self, block: InceptionResidual, in_channels: int, context: BlockContext) -> None:
        super().__init__()
        norm = context.norm(block.norm)
        self.branches = Branches(block.branches, in_channels, context.stride, norm, block.activation)
        concatenated = sum(branch_width(branch, in_channels) for branch in block.branches)
        self.projection = convolution(concatenated, block.width, 1, bias=True)
        self.excite = squeeze_excite(block.width, block.squeeze_excite, block.width, block.activation)
        changes = context.stride != 1 or in_channels != block.width
        self.shortcut = (
            convolution(in_channels, block.width, 1, stride=context.stride, norm=norm) if changes else nn.Identity()
        )
        self.residual_scale = block.residual_scale
        self.drop_path = drop_path(context.drop_path)
        self.activation = activation(block.activation if block.output_activation else "none")

    def forward(self, x: Tensor) -> Tensor:
        residual = self.excite(self.projection(self.branches(x)))
        return self.activation(self.shortcut(x) + self.residual_scale * self.drop_path(residual))
