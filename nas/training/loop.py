"""The training loop: one for every network, search and final alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch import _foreach_mul_ as foreach_mul_  # pyright: ignore[reportPrivateImportUsage]  # one kernel for all
from torch.nn import functional

from nas.training.augment import augment
from nas.training.data import Dataset
from nas.training.evaluate import Preprocess, accuracy, autocast
from nas.training.precision import bfloat16_serves
from nas.training.recipe import Recipe, one_cycle
from nas.training.seeds import derive_seed, generator


class Diverged(Exception):
    """The loss became NaN or infinite."""


class Stopped(Exception):
    """The caller asked for an end between two steps."""


@dataclass(frozen=True)
class EpochScore:
    """What an epoch brought. `epoch` counts from 1; seconds include the validation, images per second do not."""

    epoch: int
    train_loss: float
    val_accuracy: float
    seconds: float
    images_per_second: float
    batch_size: int
    network: nn.Module | None = None


def train(
    network: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int,
    resolution: int,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[EpochScore]:
    """Train `network` in place on `dataset.train`, yielding the score on `dataset.validation` after each epoch.

    Network and dataset are on one device. Seeds are derived for every epoch, so equal arguments give equal results on
    one machine with the same number of threads, whatever ran before.

    Raises:
        Diverged: the loss of an epoch was not finite.
        Stopped: `stop()` was true before a step.
    """
    device = dataset.train.images.device
    batch_size = min(recipe.batch_size, len(dataset.train))
    steps = len(dataset.train) // batch_size
    network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    preprocess = Preprocess(dataset, resolution, device)
    bfloat16 = recipe.bfloat16 and bfloat16_serves(network, preprocess(dataset.train.images[:1]))
    optimizer = _Optimizer(network, recipe, batch_size, steps * recipe.epochs)
    for epoch in range(1, recipe.epochs + 1):
        started = time.monotonic()
        network.train()
        total = torch.zeros((), device=device)
        with torch.random.fork_rng([device] if device.type == "cuda" else [], device_type=device.type):
            torch.manual_seed(derive_seed(seed, "layers", epoch))
            for images, labels in _batches(dataset, recipe, batch_size, seed, epoch):
                if stop():
                    raise Stopped
                with autocast(device, bfloat16):
                    output = network(preprocess(images))
                loss = functional.cross_entropy(output.float(), labels, label_smoothing=recipe.label_smoothing)
                loss.backward()
                optimizer.step()
                total += loss.detach()
        train_loss = total.item() / steps
        trained = time.monotonic() - started
        if not torch.isfinite(total):
            raise Diverged(f"the loss was {train_loss} in epoch {epoch}")
        score = accuracy(network, dataset.validation, preprocess, bfloat16=bfloat16)
        yield EpochScore(
            epoch=epoch,
            train_loss=train_loss,
            val_accuracy=score,
            seconds=time.monotonic() - started,
            images_per_second=steps * batch_size / trained,
            batch_size=batch_size,
            network=network,
        )


def _batches(
    dataset: Dataset, recipe: Recipe, batch_size: int, seed: int, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled, augmented batches of one epoch, made on the data's device; an incomplete last batch is left out."""
    device = dataset.train.images.device
    order = torch.randperm(len(dataset.train), generator=generator(device, seed, "shuffle", epoch), device=device)
    random = generator(device, seed, "augment", epoch)
    padding = round(recipe.crop_padding * dataset.resolution)
    cutout = round(recipe.cutout * dataset.resolution)
    for chosen in order.split(batch_size):
        if len(chosen) == batch_size:
            images, labels = dataset.train.take(chosen)
            yield augment(images, random, padding=padding, mirror=dataset.mirror, cutout=cutout), labels


class _Optimizer:
    """Nesterov momentum, one-cycle rate, clipped gradients, decoupled weight decay."""

    def __init__(self, network: nn.Module, recipe: Recipe, batch_size: int, steps: int) -> None:
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.weights: list[Tensor] = [parameter for parameter in self.parameters if parameter.ndim > 1]
        self.recipe = recipe
        self.peak = recipe.peak_rate(batch_size)
        self.steps = steps
        self.taken = 0
        momentum = recipe.momentum
        self.sgd = torch.optim.SGD(self.parameters, lr=0.1, momentum=momentum, nesterov=momentum > 0, fused=True)

    def step(self) -> None:
        rate = self.peak * one_cycle(self.taken, self.steps, self.recipe.warmup)
        nn.utils.clip_grad_norm_(self.parameters, self.recipe.gradient_clip)
        if self.weights:
            with torch.no_grad():
                foreach_mul_(self.weights, 1 - rate * self.recipe.weight_decay)
        self.sgd.param_groups[0]["lr"] = rate
        self.sgd.step()
        self.sgd.zero_grad(set_to_none=True)
        self.taken += 1
