"""A folder of images in the layout of torchvision's ImageFolder: `train/<class>/*`, optionally `val/` and `test/`."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from nas.errors import DataError
from nas.images import IMAGE_EXTENSIONS, read_header, read_image, to_square_array
from nas.training.datasets.checks import printable
from nas.training.datasets.source import Request, Source

_SAMPLE = 500
_SMALLEST, _LARGEST, _STEP = 8, 64, 8
_IGNORED = frozenset({"thumbs.db", "desktop.ini"})
_FILES_PER_TASK = 64
_WORTH_A_PROGRESS_BAR = 5000


@dataclass(frozen=True, eq=False)
class FolderExamples:
    """Image files with their labels, decoded to one size and number of channels when read."""

    files: tuple[str, ...]
    labels: np.ndarray
    channels: int
    resolution: int

    def read(self, indices: np.ndarray) -> np.ndarray:
        files = [self.files[index] for index in indices]
        images = np.empty((len(files), self.resolution, self.resolution, self.channels), np.uint8)

        def decode(start: int) -> None:
            for position in range(start, min(start + _FILES_PER_TASK, len(files))):
                images[position] = _decode(files[position], self.channels, self.resolution)

        # Threads suffice: Pillow lets go of the interpreter's lock while it decodes.
        with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as pool:
            try:
                starts = range(0, len(files), _FILES_PER_TASK)
                for _ in _shown(pool.map(decode, starts), len(starts), len(files)):
                    pass
            finally:
                pool.shutdown(cancel_futures=True)
        return images


def read_folder(root: Path, request: Request) -> Source:
    """Find the images of `root/train/<class>/`, `root/val/<class>/` and `root/test/<class>/`; decode none yet.

    The names of the class folders, in order, are the classes; images may lie in folders below them. Hidden files are
    passed over; any other file without an image's extension is an error that names it, and so are class folders that
    are empty or differ between train, val and test. Only the names in test/ are looked at until it is wanted.

    The images become grey when all of a sample of 500 training images are, RGB otherwise. They are scaled to
    `request.resolution`, by default the median of the sample's shorter sides, rounded down to a multiple of 8, at
    least 8 and at most 64. Damaged images are named in a DataError when they are read.
    """
    if not (root / "train").is_dir():
        found = "is empty" if not any(root.iterdir()) else "has no folder train/"
        raise DataError(f"{root} {found}: images belong into train/<class>/*.jpg, optionally val/ and test/ alike")
    classes, train_files, train_labels = _list_split(root / "train")
    channels, resolution = _survey(train_files)
    resolution = request.resolution or resolution

    def other(name: str) -> partial[FolderExamples] | None:
        if not (root / name).is_dir():
            return None
        names, files, labels = _list_split(root / name)
        _check_same_classes(root, name, classes, names)
        return partial(FolderExamples, files, labels, channels, resolution)

    validation = other("val")
    return Source(
        classes,
        train=FolderExamples(train_files, train_labels, channels, resolution),
        validation=validation() if validation else None,
        test=other("test"),
    )


def _list_split(split: Path) -> tuple[tuple[str, ...], tuple[str, ...], np.ndarray]:
    """Class names, image files and labels of `split/<class>/**`, in the order of the names."""
    classes, files, labels = [], [], []
    for entry in _entries(split):
        if not entry.is_dir():
            if _is_image(entry.name):
                raise DataError(f"{entry.path!r} lies beside the class folders: it belongs into one of them")
            continue
        _check_class_name(entry)
        found = list(_image_files(entry.path))
        if not found:
            raise DataError(f"{entry.path!r} is empty: a class needs images")
        labels += [len(classes)] * len(found)
        classes.append(entry.name)
        files += found
    if not classes:
        raise DataError(f"{split} has no class folders: images belong into {split.name}/<class>/*.jpg")
    return tuple(classes), tuple(files), np.array(labels, dtype=np.int64)


def _image_files(folder: str, above: tuple[str, ...] = ()) -> Iterator[str]:
    above = (*above, os.path.realpath(folder))
    for entry in _entries(folder):
        if entry.is_dir():
            if os.path.realpath(entry.path) in above:
                raise DataError(f"{entry.path!r} links back to a folder that holds it")
            yield from _image_files(entry.path, above)
        elif _is_image(entry.name):
            yield entry.path
        else:
            raise DataError(f"{entry.path!r} is not an image ({', '.join(sorted(IMAGE_EXTENSIONS))}): take it away")


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{os.fspath(folder)!r} cannot be read: {error.strerror}") from error
    return sorted((entry for entry in visible if entry.name.lower() not in _IGNORED), key=lambda entry: entry.name)


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS


def _check_class_name(entry: os.DirEntry[str]) -> None:
    if printable(entry.name) != entry.name:
        raise DataError(f"{entry.path!r}: the name of a class must not hold control characters")


def _check_same_classes(root: Path, split: str, train: tuple[str, ...], other: tuple[str, ...]) -> None:
    missing, extra = sorted(set(train) - set(other)), sorted(set(other) - set(train))
    differences = [f"{names!r} only in {where}/" for names, where in ((missing, "train"), (extra, split)) if names]
    if differences:
        raise DataError(f"{root}: train/ and {split}/ must have the same classes, but {', '.join(differences)}")


def _survey(files: tuple[str, ...]) -> tuple[int, int]:
    """Channels and resolution from the headers of up to 500 images, evenly spread over the files."""
    count = min(_SAMPLE, len(files))
    headers = [read_header(files[index * len(files) // count]) for index in range(count)]
    median = int(statistics.median(side for side, _ in headers))
    channels = 1 if all(grey for _, grey in headers) else 3
    return channels, min(max(median // _STEP * _STEP, _SMALLEST), _LARGEST)


def _decode(file: str, channels: int, resolution: int) -> np.ndarray:
    image = read_image(file)
    try:
        return to_square_array(image, channels, resolution)
    except DataError as error:
        raise DataError(f"{file!r}: {error}") from error


def _shown(tasks: Iterator[None], steps: int, images: int) -> Iterator[None]:
    """The same iterator, with a progress bar on stderr where there is a terminal and enough to wait for."""
    if images <= _WORTH_A_PROGRESS_BAR:
        return tasks
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    if not console.is_terminal:
        return tasks
    return iter(track(tasks, f"Reading {images:,} images", total=steps, console=console, transient=True))
