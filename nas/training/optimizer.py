"""From gradients to the next weights: the recipe's optimizer at the recipe's rate."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch import _foreach_mul_ as foreach_mul_  # pyright: ignore[reportPrivateImportUsage]  # one kernel for all
from torch.optim.lr_scheduler import ReduceLROnPlateau

from nas.training.muon import Muon, kernels_of
from nas.training.recipe import Recipe


class Optimizer:
    """Trains a network's parameters that take gradients, over `steps` steps.

    A step is `schedule`, which sets the rate, and `update`: clip the gradients, decay the weights, go with SGD or
    Adam; or with Muon for the kernels of convolutions, whose gradients are not clipped and which do not decay, and SGD
    for the rest. The rate is a tensor and `update` never waits for it, so that a CUDA graph can replay an update at
    another rate.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, batch_size: int, steps: int) -> None:
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.recipe = recipe
        self.peak = recipe.peak_rate(batch_size)
        self.steps = steps
        self.taken = 0
        device = self.parameters[0].device if self.parameters else torch.device("cpu")
        self.rate = torch.zeros((), device=device)
        kernels = kernels_of(network) if recipe.optimizer == "muon" else []
        apart = {id(kernel) for kernel in kernels}
        self.others = [parameter for parameter in self.parameters if id(parameter) not in apart]
        self.weights: list[Tensor] = [parameter for parameter in self.others if parameter.ndim > 1]
        self.inner = [_inner(self.others, recipe, self.rate)] if self.others else []
        if kernels:
            self.inner.append(Muon(kernels, self.rate, recipe.kernel_step(batch_size) / self.peak))
        self.peak_holder = torch.optim.SGD([torch.zeros(1)], lr=self.peak)  # what torch's scheduler lowers
        self.plateau = ReduceLROnPlateau(
            self.peak_holder, factor=recipe.plateau_factor, patience=recipe.plateau_patience
        )

    def step(self) -> None:
        """Take one step along the gradients, and clear them."""
        self.schedule()
        self.update()

    def schedule(self) -> None:
        """Set the rate of the next update."""
        self.rate.fill_(self.peak * self.recipe.rate_share(self.taken, self.steps))
        self.taken += 1

    def update(self) -> None:
        """Use up the gradients at the rate that is set."""
        nn.utils.clip_grad_norm_(self.others, self.recipe.gradient_clip)
        if self.weights:
            with torch.no_grad():
                foreach_mul_(self.weights, 1 - self.rate * self.recipe.weight_decay)
        for inner in self.inner:
            inner.step()
            inner.zero_grad(set_to_none=True)

    def end_epoch(self, train_loss: float) -> None:
        """Lower the peak where the schedule watches for plateaus and this is one."""
        if self.recipe.schedule == "plateau":
            self.peak_holder.param_groups[0]["lr"] = self.peak
            self.plateau.step(train_loss)
            self.peak = self.peak_holder.param_groups[0]["lr"]

    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on beside the network, as plain tensors on the CPU; see `restore`."""
        inner = {
            f"inner.{place}.{number}.{name}": value.detach().cpu().clone().contiguous()
            for place, each in enumerate(self.inner)
            for number, values in each.state_dict()["state"].items()
            for name, value in values.items()
        }
        numbers = {"taken": self.taken, "peak": self.peak} | {name: getattr(self.plateau, name) for name in _PLATEAU}
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in numbers.items()} | inner

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave of an equal optimizer, on any device."""
        self.taken, self.peak = int(state["taken"]), state["peak"].item()
        for name, kind in _PLATEAU.items():
            setattr(self.plateau, name, kind(state[name].item()))
        for place, inner in enumerate(self.inner):
            group = inner.param_groups[0]
            moments: dict[int, dict[str, Tensor]] = {}
            for name, value in state.items():
                if name.startswith(f"inner.{place}."):
                    number, key = name.split(".")[2:]
                    moments.setdefault(int(number), {})[key] = _laid_out_as(value, group["params"][int(number)])
            inner.load_state_dict({"state": moments, "param_groups": inner.state_dict()["param_groups"]})
            inner.param_groups[0]["lr"] = self.rate  # torch loads a copy of it


_PLATEAU = {"best": float, "num_bad_epochs": int, "cooldown_counter": int, "last_epoch": int}


def _laid_out_as(value: Tensor, parameter: Tensor) -> Tensor:
    """The value on the parameter's device, in its memory format: fused steps go through both as they lie in memory."""
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _inner(parameters: list[nn.Parameter], recipe: Recipe, rate: Tensor) -> torch.optim.Optimizer:
    if recipe.optimizer == "adam":
        capturable = rate.device.type == "cuda"
        return torch.optim.Adam(parameters, lr=rate, betas=(recipe.momentum, 0.999), fused=True, capturable=capturable)
    nesterov = recipe.momentum > 0
    return torch.optim.SGD(parameters, lr=rate, momentum=recipe.momentum, nesterov=nesterov, fused=True)
