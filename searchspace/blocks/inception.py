"""Inception modules: parallel branches of convolutions and pools, concatenated."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field
from torch import nn

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
from searchspace.layers import squeeze_excite
from searchspace.record import ActivationName, Fraction, NormName, Width
from searchspace.rounding import round_width


class Inception(Block):
    """Branches side by side (Szegedy et al. 2014, 2015), concatenated along the channels.

    With `width` the layers' widths are shares: each is scaled so that the branches' outputs sum to about `width`,
    rounded to 8; without it they are channels. The stride goes to the last spatial layer of each branch, as which a
    split counts, or to its first layer where none is spatial.
    """

    kind: Literal["inception"] = "inception"
    branches: tuple[Branch, ...] = Field(min_length=1, max_length=8)
    width: Width | None = None
    squeeze_excite: Fraction = 0.0
    norm: NormName = "batch"
    activation: ActivationName = "relu"
    drops_path: ClassVar[bool] = False

    def out_channels(self, in_channels: int, index: int = 0) -> int:
        shrinkage(self.branches)
        return sum(branch_width(branch, in_channels) for branch in self.explicit().branches)

    def explicit(self) -> Self:
        """This block with the channels that its shares stand for."""
        if self.width is None:
            return self
        return self.model_copy(update={"branches": with_channels(self.branches, self.width), "width": None})

    def build(self, in_channels: int, context: BlockContext) -> nn.Module:
        block = self.explicit()
        branches = Branches(block.branches, in_channels, context.stride, context.norm(block.norm), block.activation)
        if not block.squeeze_excite:
            return branches
        width = block.out_channels(in_channels)
        return nn.Sequential(branches, squeeze_excite(width, block.squeeze_excite, width, block.activation))

    def scaled(self, factor: float) -> Self:
        if self.width is not None:
            return self.model_copy(update={"width": round_width(self.width, factor)})
        branches = tuple(scale_branch(branch, factor, round_width) for branch in self.branches)
        return self.model_copy(update={"branches": branches})

    def normal(self) -> Self:
        block = self.explicit()
        return block.model_copy(update={"branches": tuple(normal_branch(branch) for branch in block.branches)})
