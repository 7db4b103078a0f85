"""Which of a few measured networks to take, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

SURE = 2.0  # standard errors between the first and the second


@dataclass(frozen=True)
class Verdict:
    """Places of the networks: the `chosen` one, the one of the best mean, and the second; and how far apart those are.

    `gap` is the best mean minus the second, `error` its standard error, `tied` all that are within one of them of the
    best, itself included.
    """

    chosen: int
    best: int
    second: int
    gap: float
    error: float
    tied: tuple[int, ...]

    @property
    def errors_apart(self) -> float:
        """The gap in standard errors."""
        return self.gap / self.error

    @property
    def sure(self) -> bool:
        return self.errors_apart >= SURE

    @property
    def tie_decided(self) -> bool:
        """Whether a cheaper network within noise was taken in place of the best."""
        return self.chosen != self.best


def judge(scores: Sequence[Sequence[float]], activations: Sequence[int], images: int) -> Verdict:
    """The best mean of two or more networks' scores; of those within one standard error of it the fewest activations.

    Run times follow activations (Dollar et al. 2021), and what no measurement can tell apart is decided by them: the
    rule of one standard error (Breiman et al. 1984). Scores are accuracies on `images` images.
    """
    means = [sum(each) / len(each) for each in scores]
    order = sorted(range(len(scores)), key=lambda place: (-means[place], activations[place], place))
    best, second = order[:2]
    noise = noise_of(scores, images)

    def error(place: int) -> float:
        return noise * math.sqrt(1 / len(scores[best]) + 1 / len(scores[place]))

    tied = tuple(place for place in order if place == best or means[best] - means[place] <= error(place))
    chosen = min(tied, key=lambda place: (activations[place], order.index(place)))
    return Verdict(chosen, best, second, means[best] - means[second], error(second), tied)


def noise_of(scores: Sequence[Sequence[float]], images: int) -> float:
    """The standard deviation of one training's accuracy: pooled over the networks, at least that of one image.

    Networks trained once each say nothing of it; then it is that of counting right answers among so many images, which
    is larger where all networks are measured on the same.
    """
    means = [sum(each) / len(each) for each in scores]
    freedom = sum(len(each) - 1 for each in scores)
    if freedom:
        squares = sum((score - mean) ** 2 for each, mean in zip(scores, means, strict=True) for score in each)
        return max(math.sqrt(squares / freedom), 1 / images)
    middle = sum(means) / len(means)
    return max(math.sqrt(middle * (1 - middle) / images), 1 / images)
