"""Rank correlations with intervals: of early scores with late ones, and of costs and free scores with results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.explaining.evidence import COSTS, FREE_SCORES, LEAST, Evidence, Scored

RESAMPLES = 1000


@dataclass(frozen=True)
class Correlation:
    """Spearman's, with a 95 % bootstrap interval over trials; None where there are under 5, or all are equal."""

    trials: int
    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class RungCorrelation:
    """The ranks after `short` epochs against those after `long`, over the trials that reached both."""

    short: int
    long: int
    correlation: Correlation


@dataclass(frozen=True)
class ScoreCorrelation:
    """A measure known before any training against the trials' quality: over all, and over the better half alone."""

    name: str
    overall: Correlation
    better_half: Correlation


def rung_correlations(evidence: Evidence) -> list[RungCorrelation]:
    """Each checkpoint against the next, and the first against the last where others lie between."""
    points = evidence.checkpoints
    pairs = list(pairwise(points))
    if len(points) > 2:
        pairs.append((points[0], points[-1]))
    return [RungCorrelation(short, long, rank_correlation(*scores_at(evidence, short, long))) for short, long in pairs]


def scores_at(evidence: Evidence, short: int, long: int) -> tuple[list[float], list[float]]:
    """The scores after either number of epochs, of the trials that have both."""
    both = [trial.scores for trial in evidence.trials if short in trial.scores and long in trial.scores]
    return [scores[short] for scores in both], [scores[long] for scores in both]


def score_correlations(evidence: Evidence) -> list[ScoreCorrelation]:
    """Of every free score that trials have, and of the costs.

    The better half is what a search has to choose from; many a score tells good from bad and not good from better.
    """
    better = better_half(evidence.trials)
    present = [name for name in FREE_SCORES if any(name in trial.measures for trial in evidence.trials)]
    return [
        ScoreCorrelation(name, _with_quality(name, evidence.trials), _with_quality(name, better))
        for name in (*present, *COSTS)
    ]


def better_half(trials: Sequence[Scored]) -> list[Scored]:
    middle = float(np.median([trial.quality for trial in trials]))
    return [trial for trial in trials if trial.quality >= middle]


def _with_quality(name: str, trials: Sequence[Scored]) -> Correlation:
    known = [trial for trial in trials if name in trial.measures]
    return rank_correlation([trial.measures[name] for trial in known], [trial.quality for trial in known])


def rank_correlation(first: Sequence[float], second: Sequence[float], *, seed: int = 0) -> Correlation:
    """Spearman's correlation (equal values share their mean rank) and the 2.5 and 97.5 % points of 1,000 resamples."""
    count = len(first)
    if count < LEAST:
        return Correlation(count)
    values = np.array([first, second], dtype=float)
    value = _spearman(values[:, None, :])[0]
    drawn = np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))
    resampled = _spearman(values[:, drawn])
    resampled = resampled[np.isfinite(resampled)]  # one trial drawn again and again has no ranks
    if not np.isfinite(value) or len(resampled) == 0:
        return Correlation(count)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Correlation(count, float(value), float(low), float(high))


def _spearman(pairs: ArrayLike) -> NDArray[np.float64]:
    """For values (2, samples, trials), the correlation of each sample; NaN where one side is constant."""
    from scipy.stats import rankdata

    ranks = rankdata(pairs, axis=-1)
    ranks = ranks - ranks.mean(axis=-1, keepdims=True)
    product = np.sqrt((ranks**2).sum(axis=-1).prod(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(product > 0, (ranks[0] * ranks[1]).sum(axis=-1) / product, np.nan)
