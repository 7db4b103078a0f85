"""Train one architecture: a reference, a JSON file, or a study's trial."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nas.bundle import ARCHITECTURE, require_writable
from nas.errors import NasError
from nas.exporting import write_network
from nas.plugins import load_plugins
from nas.result import open_study
from nas.searching import make_recipe
from nas.training.data import Dataset, default_data_dir, load_dataset
from nas.training.device import describe_device, pick_device
from nas.training.evaluate import Preprocess, accuracy
from nas.training.loop import EpochScore
from nas.training.trial import train_to_the_end
from nas.weights import plain_state
from searchspace import REFERENCES, Architecture, ArchitectureError, SpaceError, cost, reference
from searchspace.architecture import MAX_JSON_BYTES


@dataclass(frozen=True)
class Training:
    """What training one network gave. Images per second are those of the training steps, augmentation included."""

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
    out: str | None = None


def find_architecture(name: str, storage: str = "sqlite:///nas.db", study: str | None = None) -> Architecture:
    """The architecture that a person names: `resnet18`, `net.json`, `exports/best`, `trial:17`.

    Raises:
        NasError: nothing of this name.
        ArchitectureError, SpaceError: a damaged file, an unknown reference.
    """
    if name.startswith("trial:"):
        number = name.removeprefix("trial:")
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise NasError(f"{name!r} names no trial: write trial: and its number, such as trial:17")
        return open_study(storage, study).trial(int(number)).architecture
    if name in REFERENCES:
        return reference(name)
    if name.isdigit():
        raise NasError(f"{name!r} names no architecture; a trial is written trial:{name}")
    path = os.path.join(name, ARCHITECTURE) if os.path.isdir(name) else name
    if name.endswith(".json") or os.path.lexists(path):
        return _read_architecture(path)
    try:
        return reference(name)
    except SpaceError as error:
        raise NasError(f"{error}; or give a JSON file, an export folder, or trial: and a number") from None


def _read_architecture(path: str) -> Architecture:
    try:
        with open(path, "rb") as file:
            return Architecture.from_json(file.read(MAX_JSON_BYTES + 1))
    except (OSError, ValueError) as error:
        reason = str(error.strerror) if isinstance(error, OSError) else str(error)
        kind = ArchitectureError if isinstance(error, ArchitectureError) else NasError
        raise kind(f"{path!r}: {reason}") from None


def fitted(architecture: Architecture, data: Dataset, *, resolution: int) -> Architecture:
    """The architecture for the data's classes and channels, at a resolution to which the images are scaled."""
    return architecture.changed(classes=len(data.classes), channels=data.channels, resolution=resolution)


def train(
    architecture: Architecture | str,
    dataset: str = "cifar10",
    *,
    epochs: int = 10,
    batch_size: int = 128,
    seed: int = 0,
    limit_train: int | None = None,
    resolution: int | None = None,
    device: str = "auto",
    data_dir: str | Path | None = None,
    storage: str = "sqlite:///nas.db",
    study: str | None = None,
    out: str | Path | None = None,
    progress: Callable[[EpochScore, int], None] = lambda score, epochs: None,
    stop: Callable[[], bool] = lambda: False,
) -> Training:
    """Train one architecture as a trial would be, and measure it on the test split; `out` writes a bundle too.

    The architecture's classes and channels become the data's. A reference given by name takes the data's resolution
    too; any other architecture keeps its own, to which the images are scaled.

    Raises:
        NasError: wrong input.
        RunError: the training diverged, ran out of memory or was stopped.
    """
    load_plugins()
    recipe = make_recipe(epochs=epochs, batch_size=batch_size)
    place = pick_device(device)
    wanted = find_architecture(architecture, storage, study) if isinstance(architecture, str) else architecture
    folder = Path(data_dir) if data_dir is not None else default_data_dir()
    data = load_dataset(dataset, data_dir=folder, seed=seed, limit_train=limit_train, resolution=resolution).to(place)
    test = data.read_test()  # a damaged image is found before the training, not after it
    by_name = isinstance(architecture, str) and architecture in REFERENCES
    wanted = fitted(wanted, data, resolution=data.resolution if by_name else wanted.resolution)
    counted = cost(wanted)
    if out is not None:
        require_writable(Path(out))
    network, scores = train_to_the_end(wanted, data, recipe, seed, stop, progress)
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
        out=None if out is None else str(out),
    )
