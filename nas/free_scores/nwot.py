"""NASWOT (Mellor et al. 2021): how differently the activations of a network treat different images."""

from __future__ import annotations

from contextlib import ExitStack

import torch
from torch import Tensor, nn

from nas.free_scores.preparation import activations
from searchspace import Network


@torch.no_grad()
def nwot(network: Network, images: Tensor) -> dict[str, float]:
    """log |det K|, where K[i, j] counts the activations that are on for both images i and j, or off for both.

    On is a value above zero before the activation: ReLU's own rule, and the paper's ReLU codes. For SiLU, GELU,
    hardswish and tanh it is the side of their bend. Batch normalisation is in training mode.
    """
    count = len(images)
    agreement = torch.zeros(count, count, dtype=torch.float64, device=images.device)

    def compare(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        signs = (inputs[0] > 0).flatten(1).to(torch.float32).mul_(2).sub_(1)
        agreement.add_((signs.shape[1] + signs @ signs.T) / 2)

    with ExitStack() as hooks:
        for module in activations(network):
            hooks.callback(module.register_forward_pre_hook(compare).remove)
        network(images)
    return {"nwot": float(torch.linalg.slogdet(agreement.cpu()).logabsdet)}
