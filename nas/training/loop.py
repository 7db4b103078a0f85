"""The training loop: one for every network, search and final alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas.training.augment import augment
from nas.training.data import Dataset
from nas.training.evaluate import Preprocess, accuracy, autocast
from nas.training.optimizer import Optimizer
from nas.training.precision import bfloat16_serves
from nas.training.recipe import Recipe
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

    Parameters that take no gradient keep their values, and modules of nothing else their statistics.
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
    optimizer = Optimizer(network, recipe, batch_size, steps * recipe.epochs)
    for epoch in range(1, recipe.epochs + 1):
        started = time.monotonic()
        _learning_mode(network)
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
        optimizer.end_epoch(train_loss)
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


def _learning_mode(network: nn.Module) -> None:
    """Training mode, but evaluation mode for modules whose parameters are all frozen: their statistics stay too."""
    network.train()
    for module in network.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()
