"""AZ-NAS (Lee and Ham 2024): expressivity, progressivity and trainability, block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from statistics import fmean

import torch
from torch import Tensor, nn
from torch.nn import functional

from searchspace import Network

SMALL = 1e-8


def az_nas(network: Network, images: Tensor) -> dict[str, float]:
    """The three values of the paper that are not a cost, for noise of the images' shape.

    `az_nas_expressivity`: the sum over blocks of the entropy of the principal components' shares in the variance of
    their outputs. `az_nas_progressivity`: the smallest increase of that entropy from a block to the next.
    `az_nas_trainability`: the mean over blocks of 2 - s - 1 / s, s being the largest singular value of the mean of
    (gradient that leaves) (gradient that enters)' for random signs that enter. Weights are drawn as He et al. 2015,
    fan in, as in the paper's code.

    The paper's total ranks them within a set of networks: `nas.free_scores.ranks.az_nas_total`.
    """
    _draw(network)
    entropies: list[float] = []
    trainabilities: list[float] = []
    x = torch.randn_like(images)
    for number, block in enumerate(_blocks(network)):
        entering = x.detach().requires_grad_()
        x = block(entering)
        entropies.append(_entropy(x.detach()))
        if number:
            trainabilities.append(_trainability(entering, x))
    if len(entropies) < 2:
        return {}
    return {
        "az_nas_expressivity": sum(entropies),
        "az_nas_progressivity": min(later - earlier for earlier, later in pairwise(entropies)),
        "az_nas_trainability": fmean(trainabilities),
    }


def _blocks(network: Network) -> Iterator[nn.Module]:
    for part in (network.stem, network.stages, network.head.blocks):
        for stage in part:
            assert isinstance(stage, nn.Sequential)
            yield from stage


def _draw(network: Network) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode="fan_in")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _rows(maps: Tensor) -> Tensor:
    """(N, C, H, W) to (N * H * W, C)."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


def _entropy(maps: Tensor) -> float:
    rows = _rows(maps)
    rows = rows - rows.mean(0)
    covariance = (rows.T @ rows / len(rows)).double().cpu()
    if not bool(covariance.isfinite().all()):
        return math.nan
    values = torch.linalg.eigvalsh(covariance).clamp(min=0)
    shares = values / values.sum()
    return -float((shares * torch.log(shares + SMALL)).sum())


def _trainability(entering: Tensor, leaving: Tensor) -> float:
    """Smaller outputs meet the inputs that they come from as more channels (the paper's pixel unshuffle)."""
    given = torch.randint_like(leaving, 2) * 2 - 1
    (passed,) = torch.autograd.grad(leaving, entering, given)
    height, width = leaving.shape[2:]
    stride = max(1, entering.shape[2] // height)
    passed = functional.pixel_unshuffle(passed[:, :, : height * stride, : width * stride], stride)
    matrix = _rows(passed).T @ _rows(given) / (len(given) * height * width)
    if not bool(matrix.isfinite().all()):
        return math.nan
    largest = float(torch.linalg.matrix_norm(matrix.cpu(), 2))
    return 2 - largest - 1 / (largest + 1e-6)
