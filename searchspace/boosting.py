"""Channel boosting of a whole network: a pure function from an Architecture to another."""

from __future__ import annotations

from typing import Literal

from searchspace.architecture import Architecture, Stage
from searchspace.blocks import ChannelBoost
from searchspace.errors import ArchitectureError


def boosted(
    architecture: Architecture, width: int = 8, learner: Literal["autoencoder", "random"] = "autoencoder"
) -> Architecture:
    """The network with `width` channels from a frozen learner beside those of its images; the name says so.

    Raises:
        ArchitectureError: it is boosted already, or its first convolution does not take the added channels.
    """
    if architecture.stem and isinstance(architecture.stem[0].block, ChannelBoost):
        raise ArchitectureError("it is boosted already: its first stage is a channel_boost")
    stage = Stage(block=ChannelBoost(width=width, learner=learner))
    name = f"{architecture.name}+{learner}" if architecture.name else None
    return architecture.changed(stem=(stage, *architecture.stem), name=name)
