"""The training loop: one for every network, search and final alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas.training.batches import batches
from nas.training.capture import CapturedStep, recorder_of
from nas.training.data import Dataset
from nas.training.evaluate import Preprocess, accuracy, autocast
from nas.training.learning_mode import learning_mode
from nas.training.long_run import TRIAL, LongRun
from nas.training.optimizer import Optimizer
from nas.training.precision import precision_of
from nas.training.recipe import Recipe
from nas.training.score import Diverged, EpochScore, Stopped
from nas.training.seeds import derive_seed


def train(
    network: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int,
    resolution: int,
    stop: Callable[[], bool] = lambda: False,
    run: LongRun = TRIAL,
) -> Iterator[EpochScore]:
    """Train `network` in place on `dataset.train`, yielding the score on `dataset.validation` after each epoch.

    Parameters that take no gradient keep their values, and modules of nothing else their statistics.
    Network and dataset are on one device. Seeds are derived for every epoch, so equal arguments give equal results on
    one CPU with the same number of threads, whatever ran before. Nothing waits for the device within an epoch.
    A `run` goes on from its checkpoint, and shares each batch among its processes; a trial's does neither.

    Raises:
        Diverged: the loss of an epoch was not finite.
        Stopped: `stop()` was true before a step.
    """
    device = dataset.train.images.device
    batch_size = min(recipe.batch_size, len(dataset.train))
    steps = len(dataset.train) // batch_size
    precision = run.precision(lambda: precision_of(network, dataset, recipe, resolution, batch_size))
    network.to(memory_format=precision.memory_format)  # pyright: ignore[reportCallIssue]
    preprocess = Preprocess(dataset, resolution, device, precision.dtype, precision.memory_format)
    optimizer = Optimizer(network, recipe, batch_size, steps * recipe.epochs)
    done = run.restore(optimizer)
    forward = run.forward(network, preprocess(dataset.train.images[:batch_size]), precision.bfloat16)
    loss_sum = torch.zeros((), device=device)

    def step(images: Tensor, labels: Tensor) -> None:
        with autocast(device, precision.bfloat16):
            output = forward(images)
        loss = functional.cross_entropy(output.float(), labels, label_smoothing=recipe.label_smoothing)
        loss.backward()
        optimizer.update()
        loss_sum.add_(loss.detach())

    recorder = run.recorder(recorder_of(device, optimizer.steps))
    take_step = CapturedStep(step, recorder, lambda: network.zero_grad(set_to_none=True))
    for epoch in range(done + 1, recipe.epochs + 1):
        started = time.monotonic()
        learning_mode(network)
        loss_sum.zero_()
        with torch.random.fork_rng([device] if device.type == "cuda" else [], device_type=device.type):
            torch.manual_seed(derive_seed(seed, "layers", epoch, *run.group.others))
            for images, labels in batches(dataset, recipe, preprocess, batch_size, seed, epoch):
                if stop():
                    raise Stopped
                optimizer.schedule()
                take_step(run.group.share(images), run.group.share(labels))
        train_loss = run.group.mean(loss_sum).item() / steps
        trained = time.monotonic() - started
        if not math.isfinite(train_loss):
            raise Diverged(f"the loss was {train_loss} in epoch {epoch}")
        optimizer.end_epoch(train_loss)
        measure = partial(accuracy, network, dataset.validation, preprocess, bfloat16=precision.bfloat16)
        score = EpochScore(
            epoch=epoch,
            train_loss=train_loss,
            val_accuracy=run.group.told(measure),
            seconds=time.monotonic() - started,
            images_per_second=steps * batch_size / trained,
            batch_size=batch_size,
            network=network,
            execution=f"{precision}{take_step}",
        )
        run.keep(score, optimizer, precision)
        yield score
