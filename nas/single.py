"""Train one architecture: a reference, a JSON file, or a study's trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from nas.architectures import find_architecture, form_line, form_of, suited
from nas.bundle import require_writable
from nas.errors import NasError, RunError
from nas.exporting import Export, write_network
from nas.plugins import load_plugins
from nas.pretrained import find_start
from nas.searching import make_recipe
from nas.training.checkpoint import Checkpoint, checkpoint_file, digest_of
from nas.training.data import Dataset, Split, default_data_dir, load_dataset
from nas.training.device import describe_device, pick_device
from nas.training.distributed import Group, asked_size, joined, pick_own_device, refuse_several
from nas.training.evaluate import Preprocess, accuracy, logits
from nas.training.long_run import TRIAL, LongRun, here
from nas.training.loop import EpochScore
from nas.training.mirrored import mirrored_accuracy
from nas.training.recipe import Recipe, final_recipe, fine_tuning
from nas.training.trial import train_to_the_end
from nas.weights import plain_state
from searchspace import Architecture, boosted, cost

Say = Callable[[str], None]
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
    optimizer: str = "sgd",
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
    progress: Callable[[EpochScore, int], None] = lambda score, epochs: None,
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
    asked = _Asked(
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
    with joined(place) as group:
        if not group.first:
            say, progress = _silent, _silent
        with group.first_alone():
            task = _prepared(asked, place, say)
        group.require_divisible(task.batch_size)
        run = LongRun(group, _checkpoint(task, group, compile, say), compile, say) if asked.final else TRIAL
        network, scores = train_to_the_end(
            task.architecture, task.data, task.recipe, seed, stop, progress, task.trunk, run
        )
        with group.first_alone():
            found = _measured(task, network, scores[-1]) if group.first else (scores[-1].val_accuracy, None, None)
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


@dataclass(frozen=True)
class _Asked:
    """What `train` was asked for, under its names."""

    architecture: Architecture | str
    dataset: str
    final: bool
    recipe: Recipe
    learning_rate: float | None
    seed: int
    limit_train: int | None
    resolution: int | None
    data_dir: Path
    storage: str
    study: str | None
    boost: Literal["autoencoder", "random"] | None
    pretrained: bool
    weights: str | Path | None
    out: Path | None


@dataclass(frozen=True, eq=False)
class _Task:
    """What is trained on what, after all that can be refused was. `start` is what the card says of given weights."""

    asked: _Asked
    architecture: Architecture
    data: Dataset
    test: Split | None
    recipe: Recipe
    form: str | None
    trunk: Mapping[str, Tensor] | None = None
    start: Mapping[str, Any] = field(default_factory=dict)

    @property
    def batch_size(self) -> int:
        return min(self.recipe.batch_size, len(self.data.train))


def _prepared(asked: _Asked, place: Any, say: Say) -> _Task:
    found = asked.architecture
    if isinstance(found, str):
        found = find_architecture(found, asked.storage, asked.study)
    start = find_start(asked.architecture, found, pretrained=asked.pretrained, weights=asked.weights)
    data = load_dataset(
        asked.dataset,
        data_dir=asked.data_dir,
        seed=asked.seed,
        limit_train=asked.limit_train,
        resolution=asked.resolution if start is None else start.side(asked.dataset, asked.resolution),
    ).to(place)
    recipe = asked.recipe
    if start is None:
        wanted = suited(asked.architecture, found, data)
    else:
        wanted = start.suited(asked.architecture, found, data, asked.resolution)
        say(start.line(wanted, data))
        recipe, data = fine_tuning(recipe, asked.learning_rate), start.prepared(data)
        start.require_finite_logits(wanted, data)
    test = data.read_test()  # a damaged image is found before the training, not after it
    form = form_of(asked.architecture, wanted) if isinstance(asked.architecture, str) else None
    if form == "cifar":
        say(form_line(wanted))
    if asked.boost is not None:
        wanted = boosted(wanted, learner=asked.boost)
    cost(wanted)  # refuses what is too large to build
    if asked.out is not None:
        require_writable(asked.out)
    if start is None:
        return _Task(asked, wanted, data, test, recipe, form)
    return _Task(asked, wanted, data, test, recipe, form, start.trunk(wanted), {"start": dict(start.origin)})


def _checkpoint(task: _Task, group: Group, compile: bool, say: Say) -> Checkpoint:
    """The training's checkpoint, and what is to be said of it before the first epoch."""
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


def _measured(task: _Task, network: nn.Module, last: EpochScore) -> tuple[float, float | None, float | None]:
    """Validation, test and flipped test accuracy of the network, or of the one read back from the bundle asked for."""
    flipped = task.asked.final and task.data.mirror
    if task.asked.out is not None:
        written = _written(task, network, flipped)
        return written.val_accuracy, written.test_accuracy, written.network.card.test_accuracy_flipped
    if task.test is None:
        return last.val_accuracy, None, None
    preprocess = Preprocess(task.data, task.architecture.resolution, task.data.train.images.device)
    plain = accuracy(network, task.test, preprocess)
    both = mirrored_accuracy(lambda images: logits(network, images, preprocess), task.test) if flipped else None
    return last.val_accuracy, plain, both


def _written(task: _Task, network: nn.Module, flipped: bool) -> Export:
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
        kept = "the training is kept: the same command, or one with another --out, writes it"
        raise RunError(f"{error}; {kept}") from None
