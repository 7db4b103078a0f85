"""A file of arrays, as `numpy.savez` writes it."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from nas.errors import DataError
from nas.training.datasets.source import ArrayExamples, Request, Source

_WANTED = "x_train (n, H, W, C) or (n, H, W) of uint8 and y_train (n,) of integers; optional x_test, y_test, classes"


def read_npz(path: Path, request: Request) -> Source:
    """Read `x_train`, `y_train` and, when asked for, `x_test`, `y_test` from a .npz file.

    Images are uint8 (n, H, W, C) with 1 or 3 channels, or (n, H, W); labels are integers from 0. `classes` names
    them; without it they are called "0", "1", ... Pickled arrays are never read. Raises DataError naming the array.
    """
    with _opened(path) as arrays:
        names = set(arrays.files)
        missing = sorted({"x_train", "y_train"} - names)
        if missing:
            raise DataError(f"{path} has no {' and no '.join(missing)}: it needs {_WANTED}")
        if ("x_test" in names) != ("y_test" in names):
            raise DataError(f"{path} has only one of x_test and y_test: give both or none")
        train = _examples(path, arrays, "train")
        classes = _classes(path, arrays, train.labels)
    test = partial(_read_test, path, len(classes)) if "x_test" in names else None
    _check_labels(path, "y_train", train.labels, len(classes))
    return Source(classes, train, test=test)


def _read_test(path: Path, num_classes: int) -> ArrayExamples:
    with _opened(path) as arrays:
        test = _examples(path, arrays, "test")
    _check_labels(path, "y_test", test.labels, num_classes)
    return test


@contextmanager
def _opened(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    # Opened here because numpy leaves its own file open when it is no archive.
    with ExitStack() as stack:
        try:
            arrays = np.load(stack.enter_context(path.open("rb")), allow_pickle=False)
        except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
            # A file of another kind makes numpy advise to unpickle it, which nobody should do.
            reason = "" if "pickle" in str(error) else f": {error}"
            raise DataError(f"{path} is not a .npz file, or is damaged{reason}") from error
        if not isinstance(arrays, np.lib.npyio.NpzFile):
            raise DataError(f"{path} holds a single array, not a .npz file: it needs {_WANTED}")
        yield stack.enter_context(arrays)


def _array(path: Path, arrays: np.lib.npyio.NpzFile, key: str) -> np.ndarray:
    try:
        array = arrays[key]
        if not isinstance(array, np.ndarray):  # numpy hands out the bytes of a member that is no array
            raise ValueError("not an array")
        return array
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise DataError(
                f"{path}: {key} is a pickled object array, which is never read: save plain arrays"
            ) from error
        raise DataError(f"{path}: {key} is damaged: {error}") from error
    except (OSError, KeyError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: {key} is damaged: {error}") from error


def _examples(path: Path, arrays: np.lib.npyio.NpzFile, part: str) -> ArrayExamples:
    images, labels = _array(path, arrays, f"x_{part}"), _array(path, arrays, f"y_{part}")
    if images.dtype != np.uint8:
        raise DataError(f"{path}: x_{part} is {images.dtype}, not uint8 (0 to 255)")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise DataError(f"{path}: x_{part} has shape {images.shape}, not (n, H, W, C) with C 1 or 3, or (n, H, W)")
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(f"{path}: y_{part} is {labels.dtype} of shape {labels.shape}, not integers of shape (n,)")
    if len(labels) != len(images):
        raise DataError(f"{path}: x_{part} has {len(images)} images but y_{part} has {len(labels)} labels")
    return ArrayExamples(images, labels.astype(np.int64))


def _classes(path: Path, arrays: np.lib.npyio.NpzFile, labels: np.ndarray) -> tuple[str, ...]:
    if "classes" not in arrays.files:
        if labels.max() >= len(labels):
            raise DataError(f"{path}: y_train holds a label {labels.max()}, but only {len(labels)} images")
        return tuple(str(label) for label in range(max(0, int(labels.max())) + 1))
    names = _array(path, arrays, "classes")
    if names.ndim != 1 or names.dtype.kind not in "USiu":
        raise DataError(f"{path}: classes is {names.dtype} of shape {names.shape}, not names of shape (number,)")
    try:
        return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names.tolist())
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: classes holds names that are not UTF-8") from error


def _check_labels(path: Path, key: str, labels: np.ndarray, num_classes: int) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise DataError(f"{path}: {key} holds labels {low} to {high}, not 0 to {num_classes - 1}")
