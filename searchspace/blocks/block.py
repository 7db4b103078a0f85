"""The seam every block family implements: a record of plain data that can build its own module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from torch import nn

from searchspace.record import NormName, Record


@dataclass(frozen=True)
class BlockContext:
    """Where in the network a block stands: all it may know beside its own record and its input channels."""

    stride: int  # 1 for all but the first block of a stage
    index: int  # place within the stage, 0 first
    drop_path: float  # probability of dropping this block's residual branch (Huang et al. 2016)
    norm: Callable[[NormName], Callable[[int], nn.Module] | None]  # name -> layer of the network's eps and momentum


class Block(Record, ABC):
    """One kind of layer group, repeated `depth` times by a stage.

    A family is one subclass: its fields are what is stored and searched, `build` is what is trained. `kind` must be a
    `Literal` with a default. The input is (N, C, H, W), the output of stride s (N, out_channels, ceil(H/s), ceil(W/s));
    even kernels, another padding and the pool of a dense transition round down.
    """

    kind: Any  # a family's Literal: typed str here, it could not be overridden
    repeatable: ClassVar[bool] = True  # False: depth must be 1 and depth scaling passes by
    drops_path: ClassVar[bool] = True  # False: `context.drop_path` has no effect on it
    reads_images: ClassVar[bool] = False  # True: it stands first in the stem or nowhere, and its stride is 1

    @abstractmethod
    def out_channels(self, in_channels: int, index: int = 0) -> int:
        """Channels after the block at place `index` of its stage.

        Raises:
            ArchitectureError: the input does not fit this block.
        """

    @abstractmethod
    def build(self, in_channels: int, context: BlockContext) -> nn.Module:
        """The module of one block, freshly initialised, on torch's default device."""

    def scaled(self, factor: float) -> Self:
        """This block with its widths multiplied and rounded (`searchspace.rounding.round_width`)."""
        return self

    def fitted(self, in_channels: int) -> Self:
        """This block with groups that divide its channels, for an input width that scaling changed."""
        return self

    def normal(self) -> Self:
        """The same block with fields without effect at one fixed value, so that equal networks have equal digests.

        Networks are built from this form: a field wrongly dropped has no effect, instead of a digest that lies.
        """
        return self

    def continues(self, previous: Block) -> bool:
        """Whether a stage of this block with stride 1 only repeats the stage of `previous` before it.

        A family whose blocks differ by `index` overrides this.
        """
        return self.repeatable and self.normal() == previous.normal()
