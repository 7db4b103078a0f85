"""Train one architecture: a reference, a JSON file, or a study's trial."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from nas.errors import NasError, RunError
from nas.exporting import Export, write_network
from nas.plugins import load_plugins
from nas.task import Asked, Task, prepared
from nas.training.checkpoint import Checkpoint, checkpoint_file, digest_of
from nas.training.data import default_data_dir
from nas.training.device import describe_device, pick_device
from nas.training.distributed import Group, asked_size, joined, pick_own_device, refuse_several
from nas.training.evaluate import Preprocess, accuracy, logits
from nas.training.long_run import TRIAL, LongRun, here
from nas.training.mirrored import mirrored_accuracy
from nas.training.recipe import final_recipe, make_recipe
from nas.training.score import EpochScore
from nas.training.trial import train_to_the_end
from nas.weights import plain_state
from searchspace import Architecture, cost

Say = Callable[[str], None]
Progress = Callable[[EpochScore, int], None]
RECIPES = ("trial", "final")


@dataclass(frozen=True)
class Training:
    """What training one network gave. Images per second are those of the training steps, augmentation included.

    `test_accuracy` is that of the images as they are, everywhere; `test_accuracy_flipped` that of the logits averaged
    with those of the mirrored image, which a final training measures where mirrored images keep their class. `form` is
    `cifar` or `published` for a reference given by name.
    """

    architecture: str
    dataset: str
    device: str
    train_images_per_second: float
    val_accuracy: float
    test_accuracy: float | None
    test_accuracy_flipped: float | None
    params: int
    macs: int
    epochs: int
    seconds: float
    batch_size: int
    form: str | None = None
    out: str | None = None


def train(
    architecture: Architecture | str,
    dataset: str = "cifar10",
    *,
    recipe: Literal["trial", "final"] = "trial",
    epochs: int | None = None,
    batch_size: int = 128,
    optimizer: str = "muon",
    schedule: str = "one_cycle",
    learning_rate: float | None = None,
    label_smoothing: float = 0.1,
    seed: int = 0,
    limit_train: int | None = None,
    resolution: int | None = None,
    device: str = "auto",
    compile: bool = False,
    data_dir: str | Path | None = None,
    storage: str = "sqlite:///nas.db",
    study: str | None = None,
    boost: Literal["autoencoder", "random"] | None = None,
    pretrained: bool = False,
    weights: str | Path | None = None,
    out: str | Path | None = None,
    say: Say = lambda text: None,
    progress: Progress = lambda score, epochs: None,
    stop: Callable[[], bool] = lambda: False,
) -> Training:
    """Train one architecture as a trial would be, and measure it on the test split; `out` writes a bundle too.

    The architecture's classes and channels become the data's. A reference given by name takes the data's resolution
    too, and its CIFAR form for images of 64 pixels and below, which it says; any other architecture keeps its own, to
    which the images are scaled. `boost` puts 8 channels from a frozen learner beside those of the images
    (`searchspace.boosted`).

    `recipe="final"` is for a search's winner (`nas.training.recipe.final_recipe`): 100 epochs where a trial has 10, and
    cutout. The same call resumes it from its last checkpoint in `data_dir`, whatever ended it; torchrun spreads it over
    several GPUs; `compile` trains through torch.compile.

    `pretrained` starts from torchvision's weights of the reference, `weights` from a file of them or of our own: the
    classifier is replaced, then trained alone in a quarter of the epochs, then all is, at a lower rate
    (`nas.training.recipe.fine_tuning`).

    Raises:
        NasError: wrong input.
        RunError: the training diverged, ran out of memory or was stopped; its result could not be written.
    """
    load_plugins()
    _check(recipe, compile)
    if boost is not None and (pretrained or weights is not None):
        raise NasError("--boost gives the first layer other channels than the weights have: leave one out")
    settings = make_recipe(
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        schedule=schedule,
        learning_rate=learning_rate,
        label_smoothing=label_smoothing,
    )
    asked = Asked(
        architecture=architecture,
        dataset=dataset,
        final=recipe == "final",
        recipe=final_recipe(settings, epochs) if recipe == "final" else settings,
        learning_rate=learning_rate,
        seed=seed,
        limit_train=limit_train,
        resolution=resolution,
        data_dir=Path(data_dir) if data_dir is not None else default_data_dir(),
        storage=storage,
        study=study,
        boost=boost,
        pretrained=pretrained,
        weights=weights,
        out=None if out is None else Path(out),
    )
    place = pick_device(device) if asked_size() == 1 else pick_own_device(device)
    return _trained(asked, place, compile, say, progress, stop)


def _trained(
    asked: Asked, place: torch.device, compile: bool, say: Say, progress: Progress, stop: Callable[[], bool]
) -> Training:
    """Train in this process and those that torchrun started with it; the first one measures and writes."""
    with joined(place) as group:
        if not group.first:
            say, progress = _silent, _silent
        with group.first_alone():
            task = prepared(asked, place, say)
        group.require_divisible(task.batch_size)
        run = LongRun(group, _checkpoint(task, group, compile, say), compile, say) if asked.final else TRIAL
        network, scores = train_to_the_end(
            task.architecture, task.data, task.recipe, asked.seed, stop, progress, task.trunk, run
        )
        with group.first_alone():
            found = _measured(task, network, scores[-1], run) if group.first else (scores[-1].val_accuracy, None, None)
    run.forget()
    last, counted = scores[-1], cost(task.architecture)
    return Training(
        architecture=task.architecture.name or task.architecture.digest[:12],
        dataset=task.data.name,
        device=describe_device(place),
        train_images_per_second=sum(score.images_per_second for score in scores) / len(scores),
        val_accuracy=found[0],
        test_accuracy=found[1],
        test_accuracy_flipped=found[2],
        params=counted.params,
        macs=counted.macs,
        epochs=last.epoch,
        seconds=sum(score.seconds for score in scores),
        batch_size=last.batch_size,
        form=task.form,
        out=None if asked.out is None else str(asked.out),
    )


def _silent(*_: object) -> None:
    """Several processes speak with one voice."""


def _check(recipe: str, compile: bool) -> None:
    if recipe not in RECIPES:
        raise NasError(f"the recipe is trial (as in a search) or final (the long training), given {recipe!r}")
    if recipe == "final":
        return
    if compile:
        raise NasError("--compile takes longer than a short training gains by it: add --recipe final, or leave it out")
    refuse_several("nas train --recipe trial", "add --recipe final")


def _checkpoint(task: Task, group: Group, compile: bool, say: Say) -> Checkpoint:
    file = checkpoint_file(
        task.asked.data_dir,
        architecture=task.architecture.digest,
        data=[task.data.fingerprint, task.data.mean, task.data.std],
        recipe=task.recipe.model_dump(),
        seed=task.asked.seed,
        start=None if task.trunk is None else digest_of(task.trunk),
    )
    place = here(task.data.train.images.device, group, compile)
    return Checkpoint(file, place, say, writes=group.first)


def _measured(
    task: Task, network: nn.Module, last: EpochScore, run: LongRun
) -> tuple[float, float | None, float | None]:
    """Validation, test and flipped test accuracy of the network, or of the one read back from the bundle asked for."""
    flipped = task.asked.final and task.data.mirror
    if task.asked.out is not None:
        written = _written(task, network, run, flipped)
        return written.val_accuracy, written.test_accuracy, written.network.card.test_accuracy_flipped
    if task.test is None:
        return last.val_accuracy, None, None
    preprocess = Preprocess(task.data, task.architecture.resolution, task.data.train.images.device)
    plain = accuracy(network, task.test, preprocess)
    both = mirrored_accuracy(lambda images: logits(network, images, preprocess), task.test) if flipped else None
    return last.val_accuracy, plain, both


def _written(task: Task, network: nn.Module, run: LongRun, flipped: bool) -> Export:
    asked, data = task.asked, task.data
    assert asked.out is not None
    origin = {
        "dataset": data.name,
        "seed": asked.seed,
        "limit_train": asked.limit_train,
        "resolution": data.resolution,
    }
    settings = {"weights": "full", "training": task.recipe.model_dump(), "data": origin, "seed": asked.seed}
    state = plain_state(network)
    try:
        return write_network(
            asked.out, task.architecture, state, data, task.test, flipped=flipped, recipe=settings | dict(task.start)
        )
    except NasError as error:
        if not asked.final:
            raise
        raise RunError(f"{error}; {run.kept(task.recipe.epochs)}") from None
