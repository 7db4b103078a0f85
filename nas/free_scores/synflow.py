"""SynFlow (Tanaka et al. 2020), as a score of a network by Abdelfattah et al. 2021."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

from nas.free_scores.preparation import ACTIVATION_KINDS, NORMS, replace
from searchspace import Network


def synflow(network: Network, images: Tensor) -> dict[str, float]:
    """log of the sum over all learnt weights of |theta * dR/dtheta|, R = sum of the outputs for one image of ones.

    All weights are taken by their size, and normalisation is left out, so that zero-initialised ones hide nothing.
    Every value that an activation meets is then positive: ReLU is the identity. The others are taken for it, too, as
    saturated tanh or sigmoid would stop the flow; squeeze-excite gates are open, as in the original they saturate.
    In float64, since the sums grow with every layer.
    """
    replace(network, (*NORMS, *ACTIVATION_KINDS, SqueezeExcitation), nn.Identity())
    network.double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    weights = [
        module.weight
        for module in network.modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and module.weight.requires_grad
    ]
    total = network(torch.ones_like(images[:1], dtype=torch.float64)).sum()
    flows = torch.autograd.grad(total, weights)
    flow = float(sum((weight * gradient).detach().sum() for weight, gradient in zip(weights, flows, strict=True)))
    return {"synflow": math.log(flow) if flow > 0 else -math.inf}
