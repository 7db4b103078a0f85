"""Inception modules: parallel branches of convolutions and pools, concatenated."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from searchspace.blocks.block import Block, BlockContext
from searchspace.blocks.conv import check_pool_padding, pooling
from searchspace.errors import ArchitectureError
from searchspace.layers import convolution, squeeze_excite
from searchspace.record import ActivationName, Fraction, KernelSize, NormName, Padding, Record, Width
from searchspace.rounding import make_divisible, round_width

KernelPair = tuple[KernelSize, KernelSize]
MAX_NESTING = 4


class ConvLayer(Record):
    """A convolution of a branch; `kernel_size` is (height, width), so that 1xn and nx1 can be said."""

    layer: Literal["conv"] = "conv"
    width: Width
    kernel_size: KernelPair = (3, 3)
    padding: tuple[Padding, Padding] | None = None

    @property
    def spatial(self) -> bool:
        return self.kernel_size != (1, 1) or self.padding not in (None, (0, 0))

    @property
    def default_padding(self) -> tuple[int, int]:
        return (self.kernel_size[0] - 1) // 2, (self.kernel_size[1] - 1) // 2

    @property
    def shrinks(self) -> tuple[int, int]:
        """Rows and columns that it takes off at stride 1."""
        rows, columns = self.default_padding if self.padding is None else self.padding
        return self.kernel_size[0] - 1 - 2 * rows, self.kernel_size[1] - 1 - 2 * columns


class PoolLayer(Record):
    """A pool of a branch, of stride 1 unless it takes the module's stride."""

    layer: Literal["pool"] = "pool"
    operation: Literal["max", "average"] = "max"
    kernel_size: KernelSize = 3
    padding: Padding | None = None

    @property
    def spatial(self) -> bool:
        return True

    @property
    def default_padding(self) -> int:
        return (self.kernel_size - 1) // 2

    @property
    def shrinks(self) -> tuple[int, int]:
        """Rows and columns that it takes off at stride 1."""
        taken = self.kernel_size - 1 - 2 * (self.default_padding if self.padding is None else self.padding)
        return taken, taken

    @model_validator(mode="after")
    def _padding_fits(self) -> Self:
        check_pool_padding(self.kernel_size, self.padding)
        return self


class SplitLayer(Record):
    """Parallel branches inside a branch, concatenated (Inception v3's widest modules); its branch ends with it."""

    layer: Literal["split"] = "split"
    branches: tuple[Branch, ...] = Field(min_length=2, max_length=8)

    @model_validator(mode="after")
    def _not_deep(self) -> Self:
        if nesting(self.branches) >= MAX_NESTING:
            raise ValueError(f"inception: splits may stand inside each other {MAX_NESTING} deep")
        return self


BranchLayer = Annotated[ConvLayer | PoolLayer | SplitLayer, Field(discriminator="layer")]
Branch = Annotated[tuple[BranchLayer, ...], Field(min_length=1, max_length=16)]
SplitLayer.model_rebuild()


class Inception(Block):
    """Branches side by side (Szegedy et al. 2014, 2015), concatenated along the channels.

    With `width` the layers' widths are shares: each is scaled so that the branches' outputs sum to about `width`,
    rounded to 8; without it they are channels. The stride goes to the last spatial layer of each branch, or to its
    first layer where none is spatial.
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
        # A branch of pools alone passes its input through: it takes no share.
        share = self.width / max(1, sum(branch_width(branch, 0) for branch in self.branches))
        branches = tuple(scale_branch(branch, share, lambda w, f: make_divisible(w * f)) for branch in self.branches)
        return self.model_copy(update={"branches": branches, "width": None})

    def build(self, in_channels: int, context: BlockContext) -> nn.Module:
        block = self.explicit()
        branches = Branches(block, block.branches, in_channels, context)
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


def nesting(branches: tuple[Branch, ...]) -> int:
    """How many splits stand inside each other."""
    splits = [layer for branch in branches for layer in branch if isinstance(layer, SplitLayer)]
    return max((1 + nesting(split.branches) for split in splits), default=0)


def shrinkage(branches: tuple[Branch, ...]) -> tuple[int, int]:
    """Rows and columns that all branches take off at stride 1.

    Raises:
        ArchitectureError: they differ, so that the outputs could not be concatenated, or a split is not a last layer.
    """
    sizes = [branch_shrinkage(branch) for branch in branches]
    if len(set(sizes)) > 1:
        raise ArchitectureError(
            "inception: all branches must shrink the image equally; they take off "
            + ", ".join(f"{rows}x{columns}" for rows, columns in sizes)
            + " pixels: use odd kernels, or set `padding`"
        )
    return sizes[0]


def branch_shrinkage(branch: tuple[BranchLayer, ...]) -> tuple[int, int]:
    rows = columns = 0
    for place, layer in enumerate(branch):
        if isinstance(layer, SplitLayer):
            if place != len(branch) - 1:
                raise ArchitectureError("inception: a split must be the last layer of its branch")
            taken = shrinkage(layer.branches)
        else:
            taken = layer.shrinks
        rows, columns = rows + taken[0], columns + taken[1]
    return rows, columns


def branch_width(branch: tuple[BranchLayer, ...], in_channels: int) -> int:
    """Output channels of a branch."""
    for layer in branch:
        if isinstance(layer, ConvLayer):
            in_channels = layer.width
        elif isinstance(layer, SplitLayer):
            in_channels = sum(branch_width(inner, in_channels) for inner in layer.branches)
    return in_channels


def scale_branch(branch: tuple[BranchLayer, ...], factor: float, rounding) -> tuple[BranchLayer, ...]:
    scaled: list[BranchLayer] = []
    for layer in branch:
        if isinstance(layer, ConvLayer):
            layer = layer.model_copy(update={"width": rounding(layer.width, factor)})
        elif isinstance(layer, SplitLayer):
            inner = tuple(scale_branch(inner, factor, rounding) for inner in layer.branches)
            layer = layer.model_copy(update={"branches": inner})
        scaled.append(layer)
    return tuple(scaled)


def normal_branch(branch: tuple[BranchLayer, ...]) -> tuple[BranchLayer, ...]:
    normal: list[BranchLayer] = []
    for layer in branch:
        if isinstance(layer, SplitLayer):
            layer = layer.model_copy(update={"branches": tuple(normal_branch(inner) for inner in layer.branches)})
        elif layer.padding == layer.default_padding:
            layer = layer.model_copy(update={"padding": None})
        normal.append(layer)
    return tuple(normal)


class Branches(nn.Module):
    """The branches of one module over the same input."""

    def __init__(self, block: Inception, branches: tuple[Branch, ...], in_channels: int, context: BlockContext) -> None:
        super().__init__()
        self.branches = nn.ModuleList(self._branch(block, branch, in_channels, context) for branch in branches)

    @staticmethod
    def _branch(
        block: Inception, branch: tuple[BranchLayer, ...], in_channels: int, context: BlockContext
    ) -> nn.Sequential:
        norm = context.norm(block.norm)
        strided = stride_place(branch)
        layers: list[nn.Module] = []
        for place, layer in enumerate(branch):
            stride = context.stride if place == strided else 1
            if isinstance(layer, SplitLayer):
                inner = BlockContext(stride, context.index, 0.0, context.norm)
                layers.append(Branches(block, layer.branches, in_channels, inner))
            elif isinstance(layer, PoolLayer):
                layers.append(pooling(layer.operation, layer.kernel_size, stride, layer.padding, False))
            else:
                layers.append(
                    convolution(
                        in_channels,
                        layer.width,
                        layer.kernel_size,
                        stride=stride,
                        padding=layer.default_padding if layer.padding is None else layer.padding,
                        norm=norm,
                        activation=block.activation,
                    )
                )
            in_channels = branch_width((layer,), in_channels)
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def stride_place(branch: tuple[BranchLayer, ...]) -> int:
    """Which layer of the branch takes the stride."""
    if isinstance(branch[-1], SplitLayer):
        return len(branch) - 1
    spatial = [place for place, layer in enumerate(branch) if not isinstance(layer, SplitLayer) and layer.spatial]
    return spatial[-1] if spatial else 0
