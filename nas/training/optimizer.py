"""From gradients to the next weights: the recipe's optimizer at the recipe's rate."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch import _foreach_mul_ as foreach_mul_  # pyright: ignore[reportPrivateImportUsage]  # one kernel for all
from torch.optim.lr_scheduler import ReduceLROnPlateau

from nas.training.recipe import Recipe


class Optimizer:
    """Trains a network's parameters that take gradients, over `steps` steps.

    A step clips the gradients, decays the weights, then goes with SGD or Adam at the schedule's rate.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, batch_size: int, steps: int) -> None:
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.weights: list[Tensor] = [parameter for parameter in self.parameters if parameter.ndim > 1]
        self.recipe = recipe
        self.peak = recipe.peak_rate(batch_size)
        self.steps = steps
        self.taken = 0
        self.inner = _inner(self.parameters, recipe, self.peak)
        self.plateau = ReduceLROnPlateau(self.inner, factor=recipe.plateau_factor, patience=recipe.plateau_patience)

    def step(self) -> None:
        rate = self.peak * self.recipe.rate_share(self.taken, self.steps)
        nn.utils.clip_grad_norm_(self.parameters, self.recipe.gradient_clip)
        if self.weights:
            with torch.no_grad():
                foreach_mul_(self.weights, 1 - rate * self.recipe.weight_decay)
        self.inner.param_groups[0]["lr"] = rate
        self.inner.step()
        self.inner.zero_grad(set_to_none=True)
        self.taken += 1

    def end_epoch(self, train_loss: float) -> None:
        """Lower the peak where the schedule watches for plateaus and this is one."""
        if self.recipe.schedule == "plateau":
            self.inner.param_groups[0]["lr"] = self.peak
            self.plateau.step(train_loss)
            self.peak = self.inner.param_groups[0]["lr"]


def _inner(parameters: list[nn.Parameter], recipe: Recipe, rate: float) -> torch.optim.Optimizer:
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=rate, betas=(recipe.momentum, 0.999), fused=True)
    nesterov = recipe.momentum > 0
    return torch.optim.SGD(parameters, lr=rate, momentum=recipe.momentum, nesterov=nesterov, fused=True)
