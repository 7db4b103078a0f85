"""Muon for the kernels of convolutions: steps of equal size in all directions of a kernel."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch import _foreach_add as foreach_add  # pyright: ignore[reportPrivateImportUsage]  # a call for all kernels
from torch import _foreach_add_ as foreach_add_  # pyright: ignore[reportPrivateImportUsage]
from torch import _foreach_copy_ as foreach_copy_  # pyright: ignore[reportPrivateImportUsage]
from torch import _foreach_mul_ as foreach_mul_  # pyright: ignore[reportPrivateImportUsage]
from torch import _foreach_norm as foreach_norm  # pyright: ignore[reportPrivateImportUsage]
from torch import _foreach_sub_ as foreach_sub_  # pyright: ignore[reportPrivateImportUsage]

from nas.training.device import fast_bfloat16

ITERATIONS = 3
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of Jordan et al.'s polynomial, whose limit has singular values of 0.7 to 1.2
MOMENTUM = 0.6
SMALL = 1e-7
LARGE = 64  # rows and columns from which bfloat16 is faster than float32


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
        kernels = [kernel for kernel in group["params"] if kernel.grad is not None]
        if not kernels:
            return
        states = [self._state_of(kernel) for kernel in kernels]
        momenta, gradients = [state["momentum_buffer"] for state in states], [kernel.grad for kernel in kernels]
        norms = torch.stack([state["norm"] for state in states])
        foreach_mul_(momenta, MOMENTUM)
        foreach_add_(momenta, gradients)
        updates = foreach_add(gradients, momenta, alpha=MOMENTUM)
        _orthogonalise(updates)
        sizes = group["lr"] * group["step"] * norms / (torch.stack(foreach_norm(updates)) + SMALL)
        foreach_mul_(updates, sizes.unbind())
        foreach_sub_(kernels, updates)
        foreach_mul_(kernels, (norms / (torch.stack(foreach_norm(kernels)) + SMALL)).unbind())

    def _state_of(self, kernel: Tensor) -> dict[str, Tensor]:
        state = self.state[kernel]
        if not state:
            state["momentum_buffer"], state["norm"] = torch.zeros_like(kernel), kernel.norm()
        return state


def _orthogonalise(kernels: Sequence[Tensor]) -> None:
    """Make each orthogonal, in place, as a matrix of its first dimension; equal shapes are multiplied at once."""
    alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
    for kernel in kernels:
        alike[kernel.shape].append(_as_matrix(kernel))
    for matrices in alike.values():
        foreach_copy_(matrices, orthogonalised(matrices))


def _as_matrix(kernel: Tensor) -> Tensor:
    """A view (out, in * height * width) in the order of memory: which column is which makes no difference."""
    last = kernel.is_contiguous(memory_format=torch.channels_last)
    return (kernel.permute(0, 2, 3, 1) if last else kernel).flatten(1)


def orthogonalised(matrices: Sequence[Tensor]) -> list[Tensor]:
    """About the nearest semi-orthogonal matrices of equally large ones, by Newton and Schulz's iteration.

    On CPUs large ones are multiplied one after the other: torch's batched products in bfloat16 take twice as long.
    """
    first = matrices[0]
    if len(matrices) == 1 or (first.device.type == "cpu" and min(first.shape) >= LARGE):
        return [_newton_schulz(matrix) for matrix in matrices]
    return list(_newton_schulz(torch.stack(list(matrices))).unbind())


def _newton_schulz(matrices: Tensor) -> Tensor:
    """x becomes p(x x^T) x with a polynomial p, three times, of (rows, columns) or many such.

    All are polynomials of the first x x^T, so only matrices of the smaller side are multiplied in between: a third of
    the time for 512 rows and 4,608 columns, and x itself is read for its norm, its square and its result alone. Large
    ones in bfloat16 where that is fast: the directions differ by 1e-4 of their length.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    scale = 1 / (x.norm(dim=(-2, -1), keepdim=True) + SMALL)
    if x.shape[-2] >= LARGE and fast_bfloat16(x.device):
        x = x.to(torch.bfloat16)
    square = (x @ x.mT) * (scale * scale).to(x.dtype)
    factor = product = _polynomial(square)
    for _ in range(ITERATIONS - 1):
        square = factor @ square @ factor
        factor = _polynomial(square)
        product = factor @ product
    x = (product * scale.to(x.dtype)) @ x
    return x.mT if tall else x


def _polynomial(square: Tensor) -> Tensor:
    a, b, c = COEFFICIENTS
    add = torch.addmm if square.ndim == 2 else torch.baddbmm
    value = add(square, square, square, beta=b, alpha=c)
    value.diagonal(dim1=-2, dim2=-1).add_(a)
    return value
