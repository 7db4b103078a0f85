"""Which images a run trains on and which it validates on."""

from __future__ import annotations

import numpy as np

from nas.errors import DataError
from nas.training.datasets.source import Source
from nas.training.datasets.stratify import stratified_sample, stratified_split


def choose(name: str, source: Source, limit: int | None, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the training images, and of the validation images among theirs (or among the training ones).

    `limit` counts both. A source's own validation split gives its `fraction` of a limit, or all it has.
    """
    labels, own = source.train.labels, source.validation
    num_classes = len(source.classes)
    available = len(labels) + (len(own.labels) if own else 0)
    total = available if limit is None else limit
    if not 2 * num_classes <= total <= available:
        asked = f"limit_train is {limit}" if limit is not None else f"it has {available} for {num_classes} classes"
        allowed = f"{2 * num_classes} (2 per class)" + (f" to {available} (all)" if limit is not None else " or more")
        raise DataError(f"{name}: {asked}, but the images for training and validation must be {allowed}")
    held_out = min(max(1, int(fraction * total + 0.5)), total - num_classes)
    if own is None:
        counts = np.bincount(labels)
        if counts.min() < 2:
            raise DataError(
                f"{name} has a single training image of class {source.classes[int(counts.argmin())]!r}: "
                "give 2 or more, one to train on and one to validate on"
            )
        return stratified_split(labels, total, held_out, seed)
    if limit is None:
        return np.arange(len(labels)), np.arange(len(own.labels))
    held_out = max(min(held_out, len(own.labels)), total - len(labels))
    return (
        stratified_sample(labels, total - held_out, seed, least=1),
        stratified_sample(own.labels, held_out, seed, least=0),
    )
