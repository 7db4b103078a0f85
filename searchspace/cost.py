"""What a network costs, counted on the network itself, on the meta device: nothing is allocated or computed."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor, nn

from searchspace.architecture import Architecture
from searchspace.errors import ArchitectureError, one_line
from searchspace.meta import MacCounter, ShapesAlone
from searchspace.network import MAX_PARAMS, Network, outline

LARGEST_TRIED = 1024  # pixels, in the search for the smallest images that a network takes


@dataclass(frozen=True)
class Cost:
    """Counts for one image.

    `params` are all parameters, a frozen learner's too. `macs` are the multiply-adds of convolutions and linear
    layers: torch's flop counter, halved (torchvision's and most papers' "FLOPs"). `activations` are the output elements
    of convolutions and linear layers (Dollar et al. 2021), which follow memory and run time better than MACs.
    """

    params: int
    macs: int
    activations: int


def cost(architecture: Architecture, *, max_params: int = MAX_PARAMS) -> Cost:
    """Count parameters, multiply-adds and activations of one image at `architecture.resolution`.

    Raises:
        TooLarge: it has more than `max_params` parameters; counting stopped there.
        TooSmall: the images are too small for its strides and kernels; the message says from which size on it works.
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
    counter = MacCounter()
    with torch.no_grad(), counter:
        forward(network)
    params = sum(parameter.numel() for parameter in network.parameters())
    return Cost(params, counter.macs, activations)


class TooSmall(ArchitectureError):
    """Images too small for a network; the message says from which resolution on it works.

    That resolution is looked for when the message is read, since a search passes by thousands of such errors.
    """

    def __init__(self, network: Network, reason: str) -> None:
        super().__init__(reason)
        self._network = network
        self._reason = reason

    @cached_property
    def smallest(self) -> int | None:
        """The resolution from which on the network works; None where it does not even at `LARGEST_TRIED`."""
        return smallest_resolution(self._network)

    def __str__(self) -> str:
        given = f"images of {self._network.architecture.resolution} pixels"
        if self.smallest is None:
            return f"{given} do not pass this network, nor do those of {LARGEST_TRIED} pixels ({self._reason})"
        return f"{given} are too small for this network's strides and kernels: it takes {self.smallest} pixels or more"


def forward(network: Network) -> None:
    """Pass one image through a network on the meta device; raises TooSmall where it does not pass."""
    try:
        _pass_image(network, network.architecture.resolution)
    except (RuntimeError, ValueError) as error:
        raise TooSmall(network, one_line(str(error), 120)) from None


def smallest_resolution(network: Network) -> int | None:
    """The resolution in pixels from which on images pass a network on the meta device, where its own does not.

    None where `LARGEST_TRIED` does not pass either. Found by doubling, then by bisection: a network that takes a
    resolution takes all larger ones.
    """

    def passes(resolution: int) -> bool:
        try:
            _pass_image(network, resolution)
        except (RuntimeError, ValueError):
            return False
        return True

    failing = network.architecture.resolution
    while not passes(passing := min(2 * failing, LARGEST_TRIED)):
        if passing == LARGEST_TRIED:
            return None
        failing = passing
    return bisect_left(range(passing), True, lo=failing + 1, key=passes)


def _pass_image(network: Network, resolution: int) -> None:
    with torch.no_grad(), ShapesAlone():
        network(torch.empty(1, network.architecture.channels, resolution, resolution, device="meta"))
