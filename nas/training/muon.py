"""Muon for the kernels of convolutions: steps of equal size in all directions of a kernel."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from nas.training.device import fast_bfloat16

ITERATIONS = 3
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of Jordan et al.'s polynomial, whose limit has singular values of 0.7 to 1.2
MOMENTUM = 0.6
SMALL = 1e-7


def kernels_of(network: nn.Module) -> list[nn.Parameter]:
    """The kernels that Muon may train: of convolutions without groups and bias, which a normalisation follows or the
    network lives with; other parameters have no matrix to speak of, or a scale that matters.
    """
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups == 1 and m.bias is None]
    return [layer.weight for layer in layers if layer.weight.requires_grad]  # pyright: ignore[reportReturnType]


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, made orthogonal (Jordan et al. 2024, whose recipe for CIFAR-10 this follows).

    A kernel (out, in, height, width) is a matrix of `out` rows. A step changes it by `lr * step` of its norm, and the
    norm stays what it was at first: so no weight decay is needed. `lr` is a tensor on the kernels' device; nothing
    waits for it, and a CUDA graph can replay a step.
    """

    def __init__(self, kernels: Iterable[nn.Parameter], lr: Tensor, step: float) -> None:
        super().__init__(kernels, {"lr": lr, "step": step})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        assert closure is None
        group = self.param_groups[0]
        for kernels in self._by_shape(group["params"]):
            directions = []
            for kernel in kernels:
                state, gradient = self.state[kernel], kernel.grad
                if not state:
                    state["momentum_buffer"], state["norm"] = torch.zeros_like(kernel), kernel.norm()
                momentum = state["momentum_buffer"]
                momentum.mul_(MOMENTUM).add_(gradient)
                directions.append(gradient.add(momentum, alpha=MOMENTUM).reshape(len(kernel), -1))
            updates = orthogonalised(torch.stack(directions))
            updates *= group["lr"] * group["step"] / (updates.norm(dim=(1, 2), keepdim=True) + SMALL)
            for kernel, update in zip(kernels, updates, strict=True):
                norm = self.state[kernel]["norm"]
                kernel.sub_(update.view_as(kernel) * norm)
                kernel.mul_(norm / (kernel.norm() + SMALL))

    @staticmethod
    def _by_shape(kernels: list[nn.Parameter]) -> list[list[Any]]:
        """Kernels that are equal matrices are multiplied at once."""
        found: dict[tuple[int, ...], list[nn.Parameter]] = defaultdict(list)
        for kernel in kernels:
            if kernel.grad is not None:
                found[tuple(kernel.shape)].append(kernel)
        return list(found.values())


def orthogonalised(matrices: Tensor) -> Tensor:
    """About the nearest semi-orthogonal matrices of (count, rows, columns), by Newton and Schulz's iteration.

    x becomes p(x x^T) x with a polynomial p, three times. All are polynomials of the first x x^T, so only matrices of
    the smaller side are multiplied in between: a third of the time for 512 rows and 4,608 columns. In bfloat16 where
    that is fast: the directions differ by 1e-4 of their length.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + SMALL)
    if fast_bfloat16(x.device):
        x = x.to(torch.bfloat16)
    square = x @ x.mT
    identity = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    product = identity.expand_as(square)
    for _ in range(ITERATIONS):
        factor = a * identity + b * square + c * (square @ square)
        product = factor @ product
        square = factor @ square @ factor
    x = (product @ x).to(matrices.dtype)
    return x.mT if tall else x
