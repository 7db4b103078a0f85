"""What a reader of a dataset is asked for and what it hands over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np


class Examples(Protocol):
    """Labelled images whose labels are known at once and whose pixels are read when asked for."""

    @property
    def labels(self) -> np.ndarray:
        """Integers (n,), each the index of a class."""
        ...

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The images at these positions, in this order: uint8 (len(indices), height, width, channels)."""
        ...


@dataclass(frozen=True, eq=False)
class ArrayExamples:
    """Examples already in memory: images uint8 (n, height, width, channels), labels integers (n,)."""

    images: np.ndarray
    labels: np.ndarray

    def read(self, indices: np.ndarray) -> np.ndarray:
        return self.images[indices]


@dataclass(frozen=True)
class Request:
    """What `load_dataset` was asked for, as far as a reader needs it.

    A reader may give images of any one size: `load_dataset` scales them when a `resolution` (pixels) is asked for.
    """

    data_dir: Path
    download: bool
    resolution: int | None


@dataclass(frozen=True)
class Source:
    """What a reader hands over.

    Without `validation`, a part of `train` becomes the validation split. `test` is called when, and only when, the
    test split is wanted, and should then read it; a module-level function or a `functools.partial` of one keeps the
    dataset picklable. `mirror` says whether a mirrored image keeps its label.
    """

    classes: tuple[str, ...]
    train: Examples
    validation: Examples | None = None
    test: Callable[[], Examples] | None = None
    mirror: bool = True


Reader = Callable[[Request], Source]
