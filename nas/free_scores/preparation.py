"""What several scores do to a network before they look at it."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torchvision.ops import SqueezeExcitation, StochasticDepth

from searchspace import Network
from searchspace.layers import ACTIVATIONS

NORMS = (nn.BatchNorm2d, nn.GroupNorm)
ACTIVATION_KINDS = tuple({type(make()) for make in ACTIVATIONS.values()})


def wide_awake(network: Network) -> Network:
    """The network in training mode, with nothing dropped and no branch that starts at zero.

    The last normalisation of a residual branch is initialised to zero (Goyal et al. 2017), which hides the branch from
    every score that passes values through it. Training wakes it in its first steps; here it is set to one.
    """
    for module in network.modules():
        if isinstance(module, nn.Dropout | StochasticDepth):
            module.p = 0.0
        elif isinstance(module, NORMS) and module.weight is not None:
            nn.init.ones_(module.weight)
    return network.train()


def replace(network: nn.Module, kinds: tuple[type[nn.Module], ...], substitute: nn.Module) -> None:
    """Put `substitute` in the place of every module of these kinds."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, kinds):
                setattr(parent, name, substitute)


def activations(network: nn.Module) -> Iterator[nn.Module]:
    """Every activation of the network, but for those inside of squeeze-excite gates."""
    for child in network.children():
        if isinstance(child, ACTIVATION_KINDS):
            yield child
        elif not isinstance(child, SqueezeExcitation):
            yield from activations(child)
