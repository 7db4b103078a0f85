"""Parallel branches of convolutions, pools and splits: the records and the module that inception blocks share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from torch import Tensor, nn

from searchspace.blocks.conv import check_pool_padding, normal_pool, pooling
from searchspace.cpu import concatenate
from searchspace.errors import ArchitectureError
from searchspace.layers import convolution
from searchspace.record import ActivationName, KernelSize, Padding, Record, Width
from searchspace.rounding import make_divisible

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
    count_include_pad: bool = True

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
    """Parallel branches inside a branch, concatenated (Inception v3's widest modules); layers may follow."""

    layer: Literal["split"] = "split"
    branches: tuple[Branch, ...] = Field(min_length=2, max_length=8)

    @property
    def spatial(self) -> bool:
        return True

    @property
    def shrinks(self) -> tuple[int, int]:
        """Rows and columns that its branches take off at stride 1; raises ArchitectureError where they differ."""
        return shrinkage(self.branches)

    @model_validator(mode="after")
    def _not_deep(self) -> Self:
        if nesting(self.branches) >= MAX_NESTING:
            raise ValueError(f"splits may stand inside each other {MAX_NESTING} deep")
        return self


BranchLayer = Annotated[ConvLayer | PoolLayer | SplitLayer, Field(discriminator="layer")]
Branch = Annotated[tuple[BranchLayer, ...], Field(min_length=1, max_length=16)]
SplitLayer.model_rebuild()


def nesting(branches: tuple[Branch, ...]) -> int:
    """How many splits stand inside each other."""
    splits = [layer for branch in branches for layer in branch if isinstance(layer, SplitLayer)]
    return max((1 + nesting(split.branches) for split in splits), default=0)


def shrinkage(branches: tuple[Branch, ...]) -> tuple[int, int]:
    """Rows and columns that all branches take off at stride 1.

    Raises:
        ArchitectureError: they differ, so that the outputs could not be concatenated.
    """
    sizes = [branch_shrinkage(branch) for branch in branches]
    if len(set(sizes)) > 1:
        raise ArchitectureError(
            "inception branches must shrink the image equally; they take off "
            + ", ".join(f"{rows}x{columns}" for rows, columns in sizes)
            + " pixels: use odd kernels, or set `padding`"
        )
    return sizes[0]


def branch_shrinkage(branch: tuple[BranchLayer, ...]) -> tuple[int, int]:
    taken = [layer.shrinks for layer in branch]
    return sum(rows for rows, _ in taken), sum(columns for _, columns in taken)


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
    """The layers with fields without effect at their defaults."""
    return tuple(normal_layer(layer) for layer in branch)


def normal_layer(layer: BranchLayer) -> BranchLayer:
    if isinstance(layer, SplitLayer):
        return layer.model_copy(update={"branches": tuple(normal_branch(inner) for inner in layer.branches)})
    if isinstance(layer, PoolLayer):
        update = normal_pool(layer.operation, layer.kernel_size, layer.padding, layer.count_include_pad)
        return layer.model_copy(update=update)
    return layer.model_copy(update={"padding": None}) if layer.padding == layer.default_padding else layer


def with_channels(branches: tuple[Branch, ...], width: float) -> tuple[Branch, ...]:
    """Branches with channels for the shares of their layers: their outputs sum to about `width`, rounded to 8."""
    # A branch of pools alone passes its input through: it takes no share.
    share = width / max(1, sum(branch_width(branch, 0) for branch in branches))
    return tuple(scale_branch(branch, share, lambda w, f: make_divisible(w * f)) for branch in branches)


def stride_place(branch: tuple[BranchLayer, ...]) -> int:
    """Which layer of the branch takes the stride: the last spatial one, as which a split counts, or else the first."""
    spatial = [place for place, layer in enumerate(branch) if layer.spatial]
    return spatial[-1] if spatial else 0


class Branches(nn.Module):
    """The branches of one module over the same input, concatenated along the channels."""

    def __init__(
        self,
        branches: tuple[Branch, ...],
        in_channels: int,
        stride: int,
        norm: Callable[[int], nn.Module] | None,
        activation: ActivationName,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList()
        for branch in branches:
            layers: list[nn.Module] = []
            channels = in_channels
            for place, layer in enumerate(branch):
                own_stride = stride if place == stride_place(branch) else 1
                layers.append(branch_layer(layer, channels, own_stride, norm, activation))
                channels = branch_width((layer,), channels)
            self.branches.append(nn.Sequential(*layers))

    def forward(self, x: Tensor) -> Tensor:
        return concatenate([branch(x) for branch in self.branches])


def branch_layer(
    layer: BranchLayer,
    in_channels: int,
    stride: int,
    norm: Callable[[int], nn.Module] | None,
    activation: ActivationName,
) -> nn.Module:
    """The module of one layer of a branch."""
    if isinstance(layer, SplitLayer):
        return Branches(layer.branches, in_channels, stride, norm, activation)
    if isinstance(layer, PoolLayer):
        return pooling(
            layer.operation, layer.kernel_size, stride, layer.padding, count_include_pad=layer.count_include_pad
        )
    padding = layer.default_padding if layer.padding is None else layer.padding
    return convolution(
        in_channels, layer.width, layer.kernel_size, stride=stride, padding=padding, norm=norm, activation=activation
    )
