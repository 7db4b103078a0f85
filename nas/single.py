"""Train one architecture: a reference, a JSON file, or a study's trial."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nas.architectures import find_architecture, form_line, form_of, suited
from nas.bundle import require_writable
from nas.errors import NasError
from nas.exporting import write_network
from nas.plugins import load_plugins
from nas.pretrained import find_start
from nas.searching import make_recipe
from nas.training.data import default_data_dir, load_dataset
from nas.training.device import describe_device, pick_device
from nas.training.evaluate import Preprocess, accuracy
from nas.training.loop import EpochScore
from nas.training.recipe import fine_tuning
from nas.training.trial import train_to_the_end
from nas.weights import plain_state
from searchspace import Architecture, boosted, cost


@dataclass(frozen=True)
class Training:
    """What training one network gave. Images per second are those of the training steps, augmentation included.

    `form` is `cifar` or `published` for a reference given by name.
    """

    architecture: str
    dataset: str
    device: str
    train_images_per_second: float
    val_accuracy: float
    test_accuracy: float | None
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
    epochs: int = 10,
    batch_size: int = 128,
    optimizer: str = "sgd",
    schedule: str = "one_cycle",
    learning_rate: float | None = None,
    label_smoothing: float = 0.1,
    seed: int = 0,
    limit_train: int | None = None,
    resolution: int | None = None,
    device: str = "auto",
    data_dir: str | Path | None = None,
    storage: str = "sqlite:///nas.db",
    study: str | None = None,
    boost: Literal["autoencoder", "random"] | None = None,
    pretrained: bool = False,
    weights: str | Path | None = None,
    out: str | Path | None = None,
    say: Callable[[str], None] = lambda text: None,
    progress: Callable[[EpochScore, int], None] = lambda score, epochs: None,
    stop: Callable[[], bool] = lambda: False,
) -> Training:
    """Train one architecture as a trial would be, and measure it on the test split; `out` writes a bundle too.

    The architecture's classes and channels become the data's. A reference given by name takes the data's resolution
    too, and its CIFAR form for images of 64 pixels and below, which it says; any other architecture keeps its own, to
    which the images are scaled. `boost` puts 8 channels from a frozen learner beside those of the images
    (`searchspace.boosted`).

    `pretrained` starts from torchvision's weights of the reference, `weights` from a file of them or of our own: the
    classifier is replaced, then trained alone in a quarter of the epochs, then all is, at a lower rate
    (`nas.training.recipe.fine_tuning`).

    Raises:
        NasError: wrong input.
        RunError: the training diverged, ran out of memory or was stopped.
    """
    load_plugins()
    if boost is not None and (pretrained or weights is not None):
        raise NasError("--boost gives the first layer other channels than the weights have: leave one out")
    recipe = make_recipe(
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        schedule=schedule,
        learning_rate=learning_rate,
        label_smoothing=label_smoothing,
    )
    place = pick_device(device)
    found = find_architecture(architecture, storage, study) if isinstance(architecture, str) else architecture
    start = find_start(architecture, found, pretrained=pretrained, weights=weights)
    side = resolution if start is None else start.side(dataset, resolution)
    folder = Path(data_dir) if data_dir is not None else default_data_dir()
    data = load_dataset(dataset, data_dir=folder, seed=seed, limit_train=limit_train, resolution=side).to(place)
    if start is None:
        wanted = suited(architecture, found, data)
    else:
        wanted = start.suited(architecture, found, data, resolution)
        say(start.line(wanted, data))
        recipe, data = fine_tuning(recipe, learning_rate), start.prepared(data)
        start.require_finite_logits(wanted, data)
    test = data.read_test()  # a damaged image is found before the training, not after it
    form = form_of(architecture, wanted) if isinstance(architecture, str) else None
    if form == "cifar":
        say(form_line(wanted))
    if boost is not None:
        wanted = boosted(wanted, learner=boost)
    counted = cost(wanted)
    if out is not None:
        require_writable(Path(out))
    trunk = None if start is None else start.trunk(wanted)
    network, scores = train_to_the_end(wanted, data, recipe, seed, stop, progress, trunk)
    last = scores[-1]
    if out is None:
        preprocess = Preprocess(data, wanted.resolution, place)
        test_accuracy = None if test is None else accuracy(network, test, preprocess)
        val_accuracy = last.val_accuracy
    else:
        origin = {
            "dataset": data.name,
            "seed": seed,
            "limit_train": limit_train,
            "resolution": data.resolution,
        }
        settings = {"weights": "full", "training": recipe.model_dump(), "data": origin, "seed": seed}
        settings |= {} if start is None else {"start": dict(start.origin)}
        written = write_network(Path(out), wanted, plain_state(network), data, test, recipe=settings)
        val_accuracy, test_accuracy = written.val_accuracy, written.test_accuracy
    return Training(
        architecture=wanted.name or wanted.digest[:12],
        dataset=data.name,
        device=describe_device(place),
        train_images_per_second=sum(s.images_per_second for s in scores) / len(scores),
        val_accuracy=val_accuracy,
        test_accuracy=test_accuracy,
        params=counted.params,
        macs=counted.macs,
        epochs=last.epoch,
        seconds=sum(score.seconds for score in scores),
        batch_size=last.batch_size,
        form=form,
        out=None if out is None else str(out),
    )
