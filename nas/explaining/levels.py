"""One number that compares trials which were trained for different lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def adjusted(scores: Sequence[Mapping[int, float]]) -> list[float]:
    """The quality of each trial: its latest score, less what that length of training adds.

    `scores` holds a trial's accuracies by epoch. All are comparable after the epoch at which the first of them ended.
    What the next such epoch adds is the mean over the trials that reached both, and is taken off the scores there; and
    so on. So a trial is measured by its longest training, and none seems better for having been trained longer.

    Trials that ended alike are not simply compared with each other: a pruner ends the worse ones early, so that the
    best of those and the worst of the rest would seem equal. That the gain is measured on the trials that went on,
    which were also the luckier ones before, leaves their luck in it: a bias of a part of the noise between two
    trainings.
    """
    levels = sorted({max(of_trial) for of_trial in scores})
    quality: list[float | None] = [None] * len(scores)
    for level in levels:
        reached = [index for index, of_trial in enumerate(scores) if level in of_trial]
        gains = [scores[index][level] - known for index in reached if (known := quality[index]) is not None]
        gain = float(np.mean(gains)) if gains else 0.0
        for index in reached:
            quality[index] = scores[index][level] - gain
    return [float(value) for value in quality if value is not None]
