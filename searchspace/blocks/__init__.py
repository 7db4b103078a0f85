"""The block families: an explicit table from kind to record, and `register_block` for a user's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, get_args

from searchspace.blocks.block import Block, BlockContext
from searchspace.blocks.boost import ChannelBoost
from searchspace.blocks.branches import ConvLayer, PoolLayer, SplitLayer
from searchspace.blocks.conv import Conv, Pool
from searchspace.blocks.dense import Dense
from searchspace.blocks.inception import Inception
from searchspace.blocks.inception_residual import InceptionResidual
from searchspace.blocks.mbconv import MBConv
from searchspace.blocks.residual import Residual

BLOCKS: dict[str, type[Block]] = {
    "conv": Conv,
    "pool": Pool,
    "inception": Inception,
    "inception_residual": InceptionResidual,
    "residual": Residual,
    "dense": Dense,
    "mbconv": MBConv,
    "channel_boost": ChannelBoost,
}

B = TypeVar("B", bound=type[Block])
_when_registered: list[Callable[[], None]] = []


def register_block(family: B) -> B:
    """Add a family of blocks to the table under its `kind`, as a class decorator; returns the class.

    Registering the same class again does nothing, so a module may be imported twice.

    Raises:
        ValueError: the kind is missing, another class holds it, or it is not a whole Block.
    """
    if not (isinstance(family, type) and issubclass(family, Block)) or family.__abstractmethods__:
        raise ValueError(f"{family!r} must be a subclass of Block with its `build` and `out_channels`")
    field = family.model_fields["kind"]
    kind = field.default
    if not isinstance(kind, str) or not kind.isidentifier() or get_args(field.annotation) != (kind,):
        raise ValueError(f'{family.__name__} needs a field such as kind: Literal["mine"] = "mine"')
    held = BLOCKS.get(kind, family)
    if (held.__module__, held.__qualname__) != (family.__module__, family.__qualname__):
        raise ValueError(f"block kind {kind!r} is taken by {held.__module__}.{held.__qualname__}")
    BLOCKS[kind] = family
    for rebuild in _when_registered:
        rebuild()
    return family


def when_registered(rebuild: Callable[[], None]) -> None:
    """Have `rebuild` called after every registration: the records that hold blocks refresh their validators."""
    _when_registered.append(rebuild)


__all__ = [
    "BLOCKS",
    "Block",
    "BlockContext",
    "ChannelBoost",
    "Conv",
    "ConvLayer",
    "Dense",
    "Inception",
    "InceptionResidual",
    "MBConv",
    "Pool",
    "PoolLayer",
    "Residual",
    "SplitLayer",
    "register_block",
    "when_registered",
]
