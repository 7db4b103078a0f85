"""Several scores of a set of networks as one: by ranks, since their sizes say nothing to each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]
Scores = Sequence[Mapping[str, float]]

AZ_NAS = ("az_nas_expressivity", "az_nas_progressivity", "az_nas_trainability", "macs")


def places(scores: Scores, name: str) -> Floats:
    """Each network's place by one score, 1 / n for the lowest to 1 for the highest; equals share the mean of theirs.

    A network without the score stands below all that have it.
    """
    values = [each.get(name, -math.inf) for each in scores]
    return rankdata(values) / max(1, len(values))


def rank_sum(scores: Scores, names: Sequence[str]) -> Floats:
    """The mean of each network's places by these scores, in 0..1."""
    return np.mean([places(scores, name) for name in names], axis=0)


def az_nas_total(scores: Scores) -> Floats:
    """AZ-NAS's total (Lee and Ham 2024): the sum of the logarithms of the places by its three values and MACs."""
    return np.sum([np.log(places(scores, name)) for name in AZ_NAS], axis=0)


def bins(costs: Sequence[float], count: int) -> NDArray[np.intp]:
    """For each network the number of the bin that its cost falls into: `count` bins, as many networks in each.

    Networks of equal cost may fall into neighbouring bins.
    """
    order = np.argsort(costs, kind="stable")
    numbers = np.empty(len(order), dtype=np.intp)
    numbers[order] = np.arange(len(order)) * count // max(1, len(order))
    return numbers


def rank_sum_in_bins(scores: Scores, costs: Sequence[float], names: Sequence[str], count: int) -> Floats:
    """`rank_sum` among the networks of about the same cost, so that the largest are not preferred for their size."""
    numbers = bins(costs, count)
    found = np.zeros(len(scores))
    for number in range(count):
        members = np.flatnonzero(numbers == number)
        if len(members):
            found[members] = rank_sum([scores[int(index)] for index in members], names)
    return found
