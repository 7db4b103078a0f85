"""Whether a prediction may choose, and what it is then asked."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr

from nas.samplers.encoding import Floats

LEAST = 0.3  # rank correlation below which a prediction does not choose, however many results support it
CERTAINTY = 1.645  # standard deviations of a rank correlation of nothing: one in twenty such predictions reaches it


def proven(predicted: Floats, values: Floats) -> float:
    """Spearman's rank correlation if it is at least `LEAST` and more than chance; else 0."""
    if len(values) < 3 or np.ptp(predicted) == 0 or np.ptp(values) == 0:
        return 0.0
    correlation = float(np.corrcoef(_ranks(predicted), _ranks(values))[0, 1])
    return correlation if correlation >= max(LEAST, CERTAINTY / math.sqrt(len(values) - 1)) else 0.0


def _ranks(values: Floats) -> Floats:
    """Places in rising order, equal values at the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


def winsorised(values: Floats) -> Floats:
    """The values, none further below the median than twice the distance from it to the 90th percentile.

    How bad a failed network was says nothing about which good one is best, but would take up the whole scale.
    """
    middle, high = np.quantile(values, [0.5, 0.9])
    return np.maximum(values, middle - 2 * (high - middle)) if high > middle else values


def expected_improvement(mean: Floats, deviation: Floats, best: float) -> Floats:
    """The logarithm of the expected improvement over `best`, finite where the improvement itself is not above zero."""
    gain = (mean - best) / deviation
    density = -0.5 * gain**2 - 0.5 * math.log(2 * math.pi)
    usual = np.log(np.maximum(gain * ndtr(gain) + np.exp(density), 1e-300))
    # Far below the best: the first terms of the asymptotic series.
    return np.log(deviation) + np.where(gain > -5, usual, density - 2 * np.log(np.maximum(np.abs(gain), 1.0)))
