"""What chance alone may explain: intervals over seeds, leads in pairs, and the noise of one accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Lead:
    """The mean difference of two networks' accuracies over the seeds that both have, and its 95 % interval.

    `half_width` is None for fewer than two pairs, of which nothing can be said.
    """

    mean: float
    half_width: float | None
    pairs: int

    @property
    def sure(self) -> bool:
        """Whether the first is ahead by more than chance: the interval lies above 0."""
        return self.half_width is not None and self.mean > self.half_width


def half_width(values: Sequence[float], least: float = 0.0) -> float | None:
    """Half of the 95 % interval of the mean by the t distribution (Student 1908); None for fewer than two values.

    `least` is the smallest standard deviation believed, the step in which the values come.
    """
    if len(values) < 2:
        return None
    from scipy.special import stdtrit

    quantile = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2))
    return quantile * max(stdev(values), least) / math.sqrt(len(values))


def lead(first: Mapping[int, float], second: Mapping[int, float], images: int) -> Lead:
    """How far the first is ahead, paired by seed; the accuracies are of `images` images and so come in steps."""
    differences = [first[seed] - second[seed] for seed in first if seed in second]
    mean = fmean(differences) if differences else 0.0
    return Lead(mean, half_width(differences, least=1 / images), len(differences))


def standard_error(accuracy: float, images: int) -> float:
    """That of one accuracy on `images` images, sqrt(p (1 - p) / n), and never below one image."""
    return max(math.sqrt(accuracy * (1 - accuracy) / images), 1 / images)
