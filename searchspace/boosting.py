"""Channel boosting of a whole network: a pure function from an Architecture to another."""

from __future__ import annotations

from typing import Literal

from pydantic import ValidationError

from searchspace.architecture import Architecture, Stage
from searchspace.blocks import ChannelBoost
from searchspace.errors import ArchitectureError, describe_validation


def boosted(
    architecture: Architecture, width: int = 8, learner: Literal["autoencoder", "random"] = "autoencoder"
) -> Architecture:
    """The network with `width` channels from a frozen learner beside those of its images; the name says so.

    Raises:
        ArchitectureError: it is boosted already, width or learner cannot be, or its first block does not take the added
            channels.
    """
    if architecture.stem and isinstance(architecture.stem[0].block, ChannelBoost):
        raise ArchitectureError("it is boosted already: its first stage is a channel_boost")
    try:
        stage = Stage(block=ChannelBoost(width=width, learner=learner))
    except ValidationError as error:
        raise ArchitectureError(describe_validation(error)) from None
    name = f"{architecture.name}+{learner}" if architecture.name else None
    return architecture.changed(stem=(stage, *architecture.stem), name=name)
