"""How long a trial of an architecture takes on a device, from a few steps of the trials' own training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from nas.training.data import Dataset, Split
from nas.training.recipe import Recipe
from nas.training.score import Diverged, EpochScore, Stopped
from nas.training.trial import OutOfMemory, train_architecture
from searchspace import Architecture, Cost

RECORDED = 8  # steps of an epoch on CUDA: the fourth of the first epoch is recorded as a graph, which others replay
EPOCHS = 2  # the first is not counted: memory, kernels and graphs are made in it


@dataclass(frozen=True)
class Timing:
    """Measured seconds: before and around the epochs (`setup`), and of each full epoch with its validation."""

    cost: Cost
    setup: float
    epoch: float
    execution: str

    def trial(self, epochs: float) -> float:
        return self.setup + epochs * self.epoch


def time_training(
    architecture: Architecture,
    cost: Cost,
    dataset: Dataset,
    recipe: Recipe,
    stop: Callable[[], bool],
    *,
    steps: int = 2,
    validated: int = 512,
) -> Timing | None:
    """Train two epochs of a few steps on the dataset's first images, as a trial would; None where no score came of it.

    `validated` images are evaluated after each. On CUDA the steps are as many as it takes to replay them.

    Both ends of an epoch wait for the device, so that times on CUDA are whole.
    """
    batch_size = min(recipe.batch_size, len(dataset.train))
    steps = RECORDED if dataset.train.images.device.type == "cuda" else steps
    steps = min(steps, len(dataset.train) // batch_size)
    some = replace(
        dataset,
        train=_first(dataset.train, steps * batch_size),
        validation=_first(dataset.validation, validated),
    )
    few = recipe.model_copy(update={"epochs": EPOCHS, "frozen_epochs": 0, "rungs": ()})
    started = time.monotonic()
    scores: list[EpochScore] = []
    try:
        for score in train_architecture(architecture, some, few, seed=0, stop=stop):
            scores.append(replace(score, network=None))
    except (Stopped, Diverged, OutOfMemory):
        if not scores:
            return None
    first, last = scores[0], scores[-1]
    whole = time.monotonic() - started
    training = len(some.train) / last.images_per_second
    evaluation = max(0.0, last.seconds - training)
    images = len(dataset.train) // last.batch_size * last.batch_size
    return Timing(
        cost=cost,
        setup=max(0.0, whole - sum(score.seconds for score in scores)) + max(0.0, first.seconds - last.seconds),
        epoch=images / last.images_per_second + evaluation * len(dataset.validation) / len(some.validation),
        execution=last.execution,
    )


def _first(split: Split, count: int) -> Split:
    return Split(split.images[:count], split.labels[:count])


@dataclass(frozen=True)
class TimeModel:
    """Seconds of an epoch as a + b * MACs + c * activations, none of them below zero; of a setup, the median."""

    weights: tuple[float, float, float]
    setup: float

    def epoch(self, cost: Cost) -> float:
        return float(np.dot(self.weights, _features(cost)))

    def trial(self, cost: Cost, epochs: float) -> float:
        return self.setup + epochs * self.epoch(cost)


def _features(cost: Cost) -> tuple[float, float, float]:
    return 1.0, cost.macs, cost.activations


def fit(timings: Sequence[Timing]) -> TimeModel:
    """The model nearest to n measured epochs by their relative errors; they decide (n + 1) // 2 weights at most.

    Least squares over every choice of weights; the best one without a weight below zero.
    """
    seconds = np.array([timing.epoch for timing in timings])
    rows = np.array([_features(timing.cost) for timing in timings]) / seconds[:, None]
    best, least = np.zeros(3), float("inf")
    for chosen in _subsets((len(timings) + 1) // 2):
        scale = np.abs(rows[:, chosen]).max(axis=0)
        found, *_ = np.linalg.lstsq(rows[:, chosen] / scale, np.ones(len(seconds)), rcond=None)
        error = float(np.square(rows[:, chosen] / scale @ found - 1).sum())
        if (found >= 0).all() and error < least - 1e-12:
            best, least = np.zeros(3), error
            best[chosen] = found / scale
    return TimeModel((float(best[0]), float(best[1]), float(best[2])), float(np.median([t.setup for t in timings])))


def _subsets(most: int) -> Iterator[list[int]]:
    """Places of features, few before many; activations first, which run times follow best."""
    for size in range(1, min(most, 3) + 1):
        for chosen in combinations((2, 1, 0), size):
            yield list(chosen)
