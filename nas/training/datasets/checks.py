"""What is asked of every source, whoever wrote its reader."""

from __future__ import annotations

import unicodedata

import numpy as np

from nas.errors import DataError
from nas.training.datasets.source import Examples, Source


def printable(name: str) -> str:
    """The name with control characters, line separators and bytes that are no text replaced; emoji and quotes stay."""
    kept = "".join("_" if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") else letter for letter in name)
    return kept or "images"


def check_source(name: str, source: Source) -> None:
    """Raise DataError unless there are two distinct classes, each with training images, and labels that fit them."""
    classes = source.classes
    if len(classes) < 2:
        raise DataError(f"{name} has {len(classes)} class: at least 2 are needed to tell apart")
    if len(set(classes)) < len(classes):
        twice = sorted({repr(label) for label in classes if classes.count(label) > 1})
        raise DataError(f"{name} has classes of the same name: {', '.join(twice)}")
    if any(printable(label) != label for label in classes):
        raise DataError(f"{name} has class names that are blank or hold control characters: {list(classes)!r}")
    for examples in (source.train, source.validation):
        if examples is not None:
            check_labels(name, examples, len(classes))
    counts = np.bincount(source.train.labels, minlength=len(classes))
    if not counts.all():
        raise DataError(f"{name} has no training images of class {classes[int(counts.argmin())]!r}")


def check_labels(name: str, examples: Examples, num_classes: int) -> None:
    """Raise DataError unless the labels are integers (n,) below `num_classes`, and there are some."""
    labels = examples.labels
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(f"{name}: labels are {labels.dtype} of shape {labels.shape}, not integers of shape (n,)")
    if len(labels) == 0:
        raise DataError(f"{name} has a split without images")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise DataError(f"{name}: labels run from {labels.min()} to {labels.max()}, not 0 to {num_classes - 1}")
