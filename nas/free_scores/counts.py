"""Size as a score: what every other one must beat."""

from __future__ import annotations

from torch import Tensor

from searchspace import Network, cost


def params(network: Network, images: Tensor) -> dict[str, float]:
    """The parameters of `searchspace.cost`."""
    return {"params": float(cost(network.architecture).params)}


def macs(network: Network, images: Tensor) -> dict[str, float]:
    """The multiply-adds of `searchspace.cost`, at the architecture's own resolution."""
    return {"macs": float(cost(network.architecture).macs)}
