"""The Zen-score (Lin et al. 2021): how much the features of a network of random weights react to a small change."""

from __future__ import annotations

import math
from contextlib import ExitStack
from statistics import fmean

import torch
from torch import Tensor, nn

from nas.free_scores.preparation import NORMS
from searchspace import Network
from searchspace.blocks.inception_residual import InceptionResidualSum
from searchspace.blocks.mbconv import InvertedBottleneck
from searchspace.blocks.residual import PostactivationResidual, PreactivationResidual

CHANGE = 0.01  # of the paper: the share of a second noise image that is added
REPEATS = 4  # fresh weights and noise for each; the paper's code takes 32
IMAGES = 16


@torch.no_grad()
def zen(network: Network, images: Tensor) -> dict[str, float]:
    """log E|f(x) - f(x + 0.01 e)| + sum over normalisations of log of the standard deviation that they divide by.

    x, e and all weights are drawn from N(0, 1); f is the features before the pooling. Shortcuts of our residual blocks
    are left out, as the authors do it: the score is defined for plain networks. Normalisations are at scale one.
    """
    _leave_shortcuts_out(network)
    return {"zen": fmean(_once(network, images[:IMAGES]) for _ in range(REPEATS))}


def _once(network: Network, images: Tensor) -> float:
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    noise = torch.randn_like(images)
    divided = 0.0

    def measure(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal divided
        variance = float(inputs[0].transpose(0, 1).flatten(1).var(1, correction=0).mean())
        divided += 0.5 * math.log(variance) if variance > 0 else -math.inf

    with ExitStack() as hooks:
        for module in network.modules():
            if isinstance(module, NORMS):
                hooks.callback(module.register_forward_pre_hook(measure).remove)
        features = _features(network, noise)
    moved = _features(network, noise + CHANGE * torch.randn_like(noise))
    change = float((features - moved).abs().flatten(1).sum(1).mean())
    return math.log(change) + divided if change > 0 else -math.inf


def _features(network: Network, images: Tensor) -> Tensor:
    head = network.head
    return head.norm(head.blocks(network.stages(network.stem(images))))


class _Nothing(nn.Module):
    """Zero, whatever comes in: a shortcut that is not there."""

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(())


def _leave_shortcuts_out(network: Network) -> None:
    for module in network.modules():
        if isinstance(module, PostactivationResidual | PreactivationResidual | InceptionResidualSum):
            setattr(module, "shortcut", _Nothing())  # noqa: B010  # of no type that a block declares
        elif isinstance(module, InvertedBottleneck):
            module.keeps_shape = False
