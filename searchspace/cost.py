"""What a network costs, counted on the network itself, on the meta device: nothing is allocated or computed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from searchspace.architecture import Architecture
from searchspace.errors import ArchitectureError, one_line
from searchspace.network import MAX_PARAMS, Network, outline


@dataclass(frozen=True)
class Cost:
    """Counts for one image.

    `params` are trainable parameters. `macs` are the multiply-adds of convolutions and linear layers: torch's flop
    counter, halved (torchvision's and most papers' "FLOPs"). `activations` are the output elements of convolutions
    and linear layers (Dollar et al. 2021), which follow memory and run time better than MACs.
    """

    params: int
    macs: int
    activations: int


def cost(architecture: Architecture, *, max_params: int = MAX_PARAMS) -> Cost:
    """Count parameters, multiply-adds and activations of one image at `architecture.resolution`.

    Raises:
        TooLarge: it has more than `max_params` parameters; counting stopped there.
        ArchitectureError: the images are too small for its strides and kernels.
    """
    # Records are hashable, which pyright does not see in pydantic's frozen models.
    return _count(architecture, max_params)  # pyright: ignore[reportArgumentType]


@lru_cache(maxsize=4096)
def _count(architecture: Architecture, max_params: int) -> Cost:
    network = outline(architecture, max_params=max_params).eval()
    activations = 0

    def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal activations
        activations += output.numel()

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(add)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        forward(network)
    params = sum(parameter.numel() for parameter in network.parameters())
    return Cost(params, counter.get_total_flops() // 2, activations)


def forward(network: Network) -> None:
    """Pass one image through a network on the meta device; raises ArchitectureError where it is too small."""
    architecture = network.architecture
    x = torch.empty(1, architecture.channels, architecture.resolution, architecture.resolution, device="meta")
    try:
        network(x)
    except (RuntimeError, ValueError) as error:
        raise ArchitectureError(
            f"images of {architecture.resolution} pixels are too small for this network's strides and kernels "
            f"({one_line(str(error), 120)})"
        ) from None
