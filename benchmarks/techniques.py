"""Training techniques that `recipe.py` measures, applied from outside: to the network, the batches or the steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch import _foreach_copy_ as foreach_copy_  # pyright: ignore[reportPrivateImportUsage]  # one kernel for all
from torch import _foreach_lerp_ as foreach_lerp_  # pyright: ignore[reportPrivateImportUsage]
from torch.nn import functional

from nas.training.augment import augment
from nas.training.data import Dataset
from nas.training.evaluate import Preprocess, autocast
from nas.training.optimizer import Optimizer
from nas.training.recipe import Recipe
from nas.training.seeds import derive_seed, generator
from searchspace import Architecture, build

BASE: dict[str, Any] = {
    "batch_size": 128,
    "optimizer": "sgd",
    "schedule": "one_cycle",
    "learning_rate": 1.0,
    "momentum": 0.9,
    "weight_decay": 5e-3,
    "label_smoothing": 0.1,
    "warmup": 0.2,
    "gradient_clip": 2.0,
    "crop_padding": 0.125,
}
"""The recipe that techniques are compared with, whatever the defaults have become since."""


class Constant(Recipe):
    """The rate stays at its peak."""

    def rate_share(self, step: int, steps: int) -> float:
        return 1.0


class Cosine(Recipe):
    """Half a cosine down to zero (Loshchilov and Hutter 2017), no warm-up."""

    def rate_share(self, step: int, steps: int) -> float:
        return (1 + math.cos(math.pi * step / steps)) / 2


@dataclass(frozen=True)
class Case:
    """One technique beside the recipe; the defaults are the recipe itself.

    `resolutions`: (share of the steps, pixels). `skipped`: share of the images, the easiest for a proxy network, left
    out of two epochs in three in the second half of the training. `muon`: relative step size, 0 for none.
    """

    schedule: type[Recipe] = Recipe
    recipe: dict[str, Any] = field(default_factory=dict)
    alternating_flip: bool = False
    resolutions: tuple[tuple[float, int], ...] = ()
    zero_init: bool = True
    whitening: int = 0
    whitening_activation: bool = False
    muon: float = 0.0
    muon_iterations: int = 3
    skipped: float = 0.0
    lookahead: float = 0.0
    free: bool = True
    """Whether a step costs what the recipe's does, so that nothing need be measured."""


# --- the network -----------------------------------------------------------------------------------------------------


def make_network(architecture: Architecture, case: Case, data: Dataset, preprocess: Preprocess) -> nn.Module:
    if not case.whitening:
        network: nn.Module = build(architecture)
    else:
        first = whitening_convolution(preprocess(data.train.images[:2000]), case.whitening)
        activation = [nn.GELU()] if case.whitening_activation else []
        network = nn.Sequential(first, *activation, build(architecture.changed(channels=first.out_channels)))
    if not case.zero_init:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d) and not module.weight.any():
                nn.init.ones_(module.weight)
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def whitening_convolution(images: Tensor, size: int, epsilon: float = 1e-3) -> nn.Conv2d:
    """A frozen convolution to the whitened patches of `images` (N, C, H, W) and their negatives (Page 2019)."""
    patches = functional.unfold(images, size).transpose(1, 2).flatten(0, 1)
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    kernels = (vectors / (values + epsilon).sqrt()).T.reshape(-1, images.shape[1], size, size)
    layer = nn.Conv2d(images.shape[1], 2 * len(kernels), size, padding=(size - 1) // 2, bias=False)
    layer.weight = nn.Parameter(torch.cat([kernels, -kernels]), requires_grad=False)
    return layer


# --- the batches -----------------------------------------------------------------------------------------------------


def make_batches(
    data: Dataset, recipe: Recipe, case: Case, seed: int, steps: int, losses: Tensor | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled, augmented batches without end; an incomplete last batch of an epoch is left out."""
    device = data.train.images.device
    first = torch.randint(2, (len(data.train),), generator=generator(device, seed, "flip"), device=device).bool()
    easy = torch.zeros(len(data.train), dtype=torch.bool)
    if losses is not None:
        easy[losses.argsort()[: int(case.skipped * len(losses))]] = True
    epoch = taken = 0
    padding = round(recipe.crop_padding * data.resolution)
    while True:
        epoch += 1
        order = torch.randperm(len(data.train), generator=generator(device, seed, "shuffle", epoch), device=device)
        if taken >= steps / 2 and epoch % 3:
            order = order[~easy[order]]
        random = generator(device, seed, "augment", epoch)
        for chosen in order.split(recipe.batch_size):
            if len(chosen) == recipe.batch_size:
                images, labels = data.train.take(chosen)
                mirror = data.mirror and not case.alternating_flip
                images = augment(images, random, padding=padding, mirror=mirror, cutout=0)
                if case.alternating_flip:
                    flipped = (first[chosen] ^ bool(epoch % 2)).view(-1, 1, 1, 1)
                    images = torch.where(flipped, images.flip(3), images)
                taken += 1
                yield images, labels


# --- the steps -------------------------------------------------------------------------------------------------------


class Muon:
    """Orthogonalised momentum (Jordan et al. 2024) for kernels of ungrouped convolutions without bias.

    A step changes a kernel by `rate` of its norm, and the norm stays as it was: batch normalisation follows.
    """

    def __init__(self, network: nn.Module, rate: float, iterations: int, momentum: float = 0.6) -> None:
        layers = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups == 1 and m.bias is None]
        self.kernels = [layer.weight for layer in layers if layer.weight.requires_grad]
        self.norms = [kernel.detach().norm() for kernel in self.kernels]
        self.momenta = [torch.zeros_like(kernel) for kernel in self.kernels]
        self.rate, self.iterations, self.momentum = rate, iterations, momentum

    @torch.no_grad()
    def step(self, share: float) -> None:
        for kernel, norm, momentum in zip(self.kernels, self.norms, self.momenta, strict=True):
            assert kernel.grad is not None
            momentum.mul_(self.momentum).add_(kernel.grad)
            direction = kernel.grad.add(momentum, alpha=self.momentum)
            update = newton_schulz(direction.reshape(len(kernel), -1), self.iterations).view_as(kernel)
            kernel.sub_(update * (share * self.rate * norm / (update.norm() + 1e-7)))
            kernel.mul_(norm / kernel.norm())
            kernel.grad = None


def newton_schulz(matrix: Tensor, iterations: int) -> Tensor:
    """About the nearest semi-orthogonal matrix."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(iterations):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x


class Averages:
    """Batch statistics at several momenta and weight averages at several decays beside one training.

    Batch normalisation does not use its running statistics while training, so one training serves them all. Its
    own momentum is set to 1, and what it holds after a step are that step's statistics. The weight averages also
    average the statistics at momentum `averaged`.
    """

    def __init__(self, network: nn.Module, momenta: Sequence[float], decays: Sequence[float], averaged: float) -> None:
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        self.latest = [b for n in norms for b in (n.running_mean, n.running_var) if b is not None]
        self.statistics = {momentum: [b.clone() for b in self.latest] for momentum in momenta}
        for norm in norms:
            norm.momentum = 1.0
        self.weights: list[Tensor] = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.averaged = averaged
        self.averages = {decay: [t.detach().clone() for t in self._now()] for decay in decays}
        self.steps = 0

    def _now(self) -> list[Tensor]:
        return [*self.weights, *self.statistics[self.averaged]]

    @torch.no_grad()
    def step(self) -> None:
        self.steps += 1
        for momentum, statistics in self.statistics.items():
            foreach_lerp_(statistics, self.latest, momentum)
        for decay, average in self.averages.items():
            # an average of few steps forgets the start sooner
            foreach_lerp_(average, self._now(), 1 - min(decay, self.steps / (self.steps + 9)))

    @torch.no_grad()
    def variants(self) -> Iterator[str]:
        """Put each variant into the network in turn, yielding its name; the network is restored at the end."""
        weights, latest = deepcopy(self.weights), deepcopy(self.latest)
        for momentum, statistics in self.statistics.items():
            foreach_copy_(self.latest, statistics)
            yield f"momentum {momentum}"
        for decay, average in self.averages.items():
            foreach_copy_([*self.weights, *self.latest], average)
            yield f"momentum {self.averaged}, decay {decay}"
        foreach_copy_([*self.weights, *self.latest], [*weights, *latest])


class Training:
    """A network, its batches and its optimizer, advanced by `step`."""

    def __init__(
        self,
        architecture: Architecture,
        case: Case,
        data: Dataset,
        *,
        seed: int,
        steps: int,
        bfloat16: bool,
        losses: Tensor | None = None,
    ) -> None:
        torch.manual_seed(derive_seed(seed, "network"))
        self.case, self.data, self.steps, self.bfloat16 = case, data, steps, bfloat16
        self.device = data.train.images.device
        self.preprocess = Preprocess(data, data.resolution, self.device)
        self.network = make_network(architecture, case, data, self.preprocess).train()
        self.recipe = case.schedule(**{"optimizer": "sgd", **case.recipe})  # what the techniques were compared with
        self.muon = Muon(self.network, case.muon, case.muon_iterations) if case.muon else None
        kernels = self.muon.kernels if self.muon else []
        for kernel in kernels:
            kernel.requires_grad_(False)
        self.optimizer = Optimizer(self.network, self.recipe, self.recipe.batch_size, steps)
        for kernel in kernels:
            kernel.requires_grad_(True)
        self.batches = make_batches(data, self.recipe, case, seed, steps, losses)
        self.slow = [p.detach().clone() for p in self.network.parameters()] if case.lookahead else []
        self.taken = 0
        torch.manual_seed(derive_seed(seed, "layers"))

    def step(self) -> Tensor:
        images, labels = next(self.batches)
        self.preprocess.resolution = self._resolution()
        with autocast(self.device, self.bfloat16):
            output = self.network(self.preprocess(images))
        loss = functional.cross_entropy(output.float(), labels, label_smoothing=self.recipe.label_smoothing)
        loss.backward()
        if self.muon:
            self.muon.step(self.recipe.rate_share(self.taken, self.steps))
        self.optimizer.step()
        self.taken += 1
        if self.slow and self.taken % 5 == 0:
            self._look_ahead()
        return loss.detach()

    def _resolution(self) -> int:
        passed = 0.0
        for share, pixels in self.case.resolutions:
            passed += share
            if self.taken < passed * self.steps:
                return pixels
        return self.data.resolution

    @torch.no_grad()
    def _look_ahead(self) -> None:
        """Every fifth step the weights return to their slow average (Zhang et al. 2019), later the less averaged."""
        decay = self.case.lookahead**5 * (self.taken / self.steps) ** 3
        if self.taken + 5 > self.steps:
            decay = 1.0
        weights: list[Tensor] = list(self.network.parameters())
        foreach_lerp_(self.slow, weights, 1 - decay)
        foreach_copy_(weights, self.slow)
