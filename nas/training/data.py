"""Labelled images for a search: uint8 tensors, a split fixed by a seed, a fingerprint, a test split read on demand."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import platformdirs
import torch
from PIL import Image

from nas.errors import DataError
from nas.images import to_square_array
from nas.quantities import require_whole
from nas.training.datasets import Examples, Reader, Request, Source
from nas.training.datasets.arrays import read_npz
from nas.training.datasets.checks import check_labels, check_source, printable
from nas.training.datasets.choice import choose
from nas.training.datasets.cifar import read_cifar10, read_cifar100
from nas.training.datasets.digits import read_digits
from nas.training.datasets.folder import read_folder

DATASETS: dict[str, Reader] = {"cifar10": read_cifar10, "cifar100": read_cifar100, "digits": read_digits}

_RESOLUTIONS = (4, 1024)


@dataclass(frozen=True, eq=False)
class Split:
    """Images uint8 (N, C, H, W), their bytes in channels_last order, and labels int64 (N,), on one device."""

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Images and labels at these positions, channels_last.

        A row copy per image; `images[indices]` gathers byte by byte (145 against 9 us for 128 images of 32x32x3).
        """
        rows = self.images.permute(0, 2, 3, 1).index_select(0, indices)
        return rows.permute(0, 3, 1, 2), self.labels.index_select(0, indices)

    def to(self, device: torch.device | str) -> Split:
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set ready for training.

    `mirror`: horizontal flips keep the label. `default_space`: the search space that suits the image size. `mean`
    and `std`: per channel, over the training split, of values in 0..1 (std at least 1/255). `fingerprint`: SHA-256
    over class names and the pixels and labels of the training and validation splits; paths do not enter it, decoders
    do (another release of Pillow may decode a JPEG differently). `learners`: the folder where frozen learners that were
    trained on its training split are kept. `test_reader` is `read_test`'s own business.
    """

    name: str
    classes: tuple[str, ...]
    channels: int
    resolution: int
    mirror: bool
    default_space: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    train: Split = field(repr=False)
    validation: Split = field(repr=False)
    learners: Path = field(repr=False)
    test_reader: Callable[[], Split] | None = field(default=None, repr=False)

    def read_test(self) -> Split | None:
        """The test split, read now, on the device of the other splits; None when the data has none.

        For `train` and `export`; a search never calls it. Raises DataError naming what is damaged.
        """
        return self.test_reader().to(self.train.images.device) if self.test_reader else None

    def to(self, device: torch.device | str) -> Dataset:
        return replace(self, train=self.train.to(device), validation=self.validation.to(device))


def default_data_dir() -> Path:
    """Where downloads and learners are kept: the environment variable NAS_DATA_DIR, else the user's cache folder."""
    given = os.environ.get("NAS_DATA_DIR")
    return Path(given).expanduser() if given else Path(platformdirs.user_cache_dir("nas"))


def register_dataset(name: str, reader: Reader) -> None:
    """Make `reader` known as `name`, for `load_dataset` and `--dataset`.

    A reader is one function from a `Request` (data_dir, download, resolution) to a `Source`: the class names, the
    training examples, optionally validation examples and a function that reads the test examples. For data in
    memory, `Source(classes, ArrayExamples(images, labels))` with uint8 images (n, H, W, C) and integer labels is all;
    scaling, splitting, checks and the fingerprint are done here. Raises DataError when the name is taken or a path.
    """
    if name in DATASETS:
        raise DataError(f"a dataset named {name!r} is registered already")
    if not name or os.path.basename(name) != name or name.endswith(".npz"):
        raise DataError(f"{name!r} reads like a path: choose a plain name for the dataset")
    DATASETS[name] = reader


def load_dataset(
    name_or_path: str,
    *,
    data_dir: Path | None = None,
    seed: int = 0,
    limit_train: int | None = None,
    resolution: int | None = None,
    validation_fraction: float = 0.1,
    download: bool = True,
) -> Dataset:
    """Load a dataset by its name in DATASETS, from a folder `train/<class>/*`, or from a .npz file of arrays.

    The validation split is the data's own (a folder's val/) or a stratified `validation_fraction` of the training
    images, chosen by `seed`. `limit_train` uses that many images, train and validation together, stratified; no
    others are decoded. `resolution` in pixels scales the images; without it arrays keep their size (the shorter side
    where they are not square) and folders choose as `datasets.folder.read_folder` says. A name goes before a folder
    of that name: write ./digits for the folder.

    Raises DataError for everything that cannot be read or trained on, naming the file, class or setting.
    """
    _check_settings(validation_fraction, resolution, limit_train, seed)
    request = Request(data_dir or default_data_dir(), download, resolution)
    name, source = _find(str(name_or_path), request)
    check_source(name, source)
    chosen, held_out = choose(name, source, limit_train, validation_fraction, seed)
    train = _read(name, source.train, chosen, resolution)
    resolution = train.images.shape[2]
    validation = _read(name, source.validation or source.train, held_out, resolution, train.images.shape[1])
    mean, std = _moments(train.images)
    return Dataset(
        name=name,
        classes=source.classes,
        channels=train.images.shape[1],
        resolution=resolution,
        mirror=source.mirror,
        default_space="tiny" if resolution < 16 else "cifar",
        mean=mean,
        std=std,
        fingerprint=_fingerprint(source.classes, train, validation),
        train=train,
        validation=validation,
        learners=request.data_dir / "learners",
        test_reader=_test_reader(name, source, train),
    )


def _check_settings(validation_fraction: float, resolution: int | None, limit_train: int | None, seed: int) -> None:
    require_whole("seed", seed, least=0)
    for name, number in (("resolution", resolution), ("limit_train", limit_train)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
            raise DataError(f"{name} is a whole number, given {number!r}")
    if not 0 < validation_fraction < 1:
        raise DataError(f"validation_fraction must lie between 0 and 1, not {validation_fraction}")
    low, high = _RESOLUTIONS
    if resolution is not None and not low <= resolution <= high:
        raise DataError(f"the resolution must be {low} to {high} pixels, not {resolution}")
    if limit_train is not None and limit_train < 1:
        raise DataError(f"limit_train counts images, so it cannot be {limit_train}")


def _find(name: str, request: Request) -> tuple[str, Source]:
    if name in DATASETS:
        return name, DATASETS[name](request)
    if os.path.isdir(name):
        return printable(Path(name).resolve().name), read_folder(Path(name), request)
    if os.path.isfile(name):
        if not name.lower().endswith(".npz"):
            raise DataError(f"{name!r} is neither a folder of images nor a .npz file")
        return printable(Path(name).stem), read_npz(Path(name), request)
    if os.path.basename(name) != name or name.lower().endswith(".npz"):
        raise DataError(f"there is no folder or file {name!r}")
    near = difflib.get_close_matches(name.lower(), DATASETS, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    known = ", ".join(sorted(DATASETS))
    raise DataError(f"unknown dataset {name!r}{hint}: give {known}, a folder with train/<class>/*, or a .npz file")


def _read(
    name: str, examples: Examples, indices: np.ndarray, resolution: int | None, channels: int | None = None
) -> Split:
    try:
        images = examples.read(indices)
        if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(indices):
            raise DataError(f"{name}: images are {images.dtype} of shape {images.shape}, not uint8 (n, H, W, C)")
        if images.shape[3] not in (1, 3) or images.shape[3] != (channels or images.shape[3]):
            raise DataError(f"{name}: images have {images.shape[3]} channels: {channels or '1 or 3'} are expected")
        side = resolution or min(images.shape[1:3])
        if images.shape[1:3] != (side, side):
            images = _square(images, side)
    except MemoryError as error:
        raise DataError(
            f"{name}: {len(indices)} images do not fit into memory: lower the resolution or limit_train"
        ) from error
    labels = np.ascontiguousarray(examples.labels[indices], dtype=np.int64)
    return Split(torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2), torch.from_numpy(labels))


def _test_reader(name: str, source: Source, train: Split) -> Callable[[], Split] | None:
    if source.test is None:
        return None
    _, channels, resolution, _ = train.images.shape
    return partial(_read_test, name, source.test, len(source.classes), channels, resolution)


def _read_test(name: str, read: Callable[[], Examples], num_classes: int, channels: int, resolution: int) -> Split:
    examples = read()
    check_labels(name, examples, num_classes)
    return _read(name, examples, np.arange(len(examples.labels)), resolution, channels)


def _square(images: np.ndarray, resolution: int) -> np.ndarray:
    channels = images.shape[3]
    pictures = (Image.fromarray(pixels[..., 0] if channels == 1 else pixels) for pixels in images)
    return np.stack([to_square_array(picture, channels, resolution) for picture in pictures])


def _moments(images: torch.Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of values in 0..1, from exact sums: the same on every machine."""
    total = torch.zeros(images.shape[1], dtype=torch.float64)
    squares = torch.zeros_like(total)
    for chunk in images.split(1024):
        values = chunk.to(torch.float64)
        total += values.sum(dim=(0, 2, 3))
        squares += values.square().sum(dim=(0, 2, 3))
    count = images.numel() // images.shape[1]
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=1).sqrt()
    return tuple((mean / 255).tolist()), tuple((std / 255).tolist())


def _fingerprint(classes: tuple[str, ...], *splits: Split) -> str:
    digest = hashlib.sha256(json.dumps(classes).encode())
    for split in splits:
        images = split.images.permute(0, 2, 3, 1).numpy()
        digest.update(repr(images.shape).encode())
        digest.update(images.data)
        digest.update(split.labels.numpy().astype("<i8").data)
    return digest.hexdigest()
