"""Parameters of any Optuna distributions as rows of numbers, and how far two rows are apart in each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

Floats = NDArray[np.float64]
Params = Mapping[str, Any]


def unit(distribution: IntDistribution | FloatDistribution, value: float) -> float:
    """Where a number stands between the lowest (0) and the highest (1), on the distribution's own scale."""
    low, high = _scaled(distribution, distribution.low), _scaled(distribution, distribution.high)
    return 0.5 if low == high else (_scaled(distribution, value) - low) / (high - low)


def number(distribution: IntDistribution | FloatDistribution, place: float) -> float:
    """The number of the distribution that stands nearest to `place` in 0..1; the inverse of `unit`."""
    low, high = _scaled(distribution, distribution.low), _scaled(distribution, distribution.high)
    value = low + min(1.0, max(0.0, place)) * (high - low)
    value = math.exp(value) if distribution.log else value
    if distribution.step is not None:
        value = distribution.low + round((value - distribution.low) / distribution.step) * distribution.step
    value = min(distribution.high, max(distribution.low, value))
    return int(value) if isinstance(distribution, IntDistribution) else float(value)


def _scaled(distribution: IntDistribution | FloatDistribution, value: float) -> float:
    return math.log(value) if distribution.log else float(value)


class Encoding:
    """Rows of one number a parameter: the option's index, or the place in 0..1; NaN where it is not active.

    `scores` are numbers more, known of every network before it is trained, under names that no parameter has.
    """

    def __init__(
        self, distributions: Mapping[str, BaseDistribution], scores: Mapping[str, BaseDistribution] | None = None
    ) -> None:
        self.distributions = {**distributions, **(scores or {})}
        self.shares = np.array([1 / len(group) for group in (distributions, scores or {}) for _ in group])
        """What each number counts for before anything is learnt: all scores as much as all parameters."""
        self._options = {
            name: {(type(option), option): float(index) for index, option in enumerate(distribution.choices)}
            for name, distribution in self.distributions.items()
            if isinstance(distribution, CategoricalDistribution)
        }
        self._unordered = np.array([name in self._options for name in self.distributions], dtype=bool)

    def rows(self, params: Sequence[Params]) -> Floats:
        """An array of a row for each of `params` and a column for each parameter."""
        rows = [
            [self._code(name, given[name]) if name in given else math.nan for name in self.distributions]
            for given in params
        ]
        return np.array(rows, dtype=float).reshape(len(params), len(self.distributions))

    def distances(self, first: Floats, second: Floats) -> Floats:
        """In 0..1, of shape (parameters, rows of `first`, rows of `second`).

        Unordered options differ by 1, numbers by the distance of their places. Being active or not differs by 1, too.
        """
        one, other = first.T[:, :, None], second.T[:, None, :]
        apart = np.abs(one - other)
        apart[self._unordered] = np.sign(apart[self._unordered])
        if np.isnan(apart.sum()):
            apart = np.where(np.isnan(one) | np.isnan(other), np.isnan(one) != np.isnan(other), apart)
        return apart

    def _code(self, name: str, value: Any) -> float:
        """NaN for what the distribution does not know: another version of the space may have had more options."""
        if name in self._options:
            return self._options[name].get((type(value), value), math.nan)
        distribution = self.distributions[name]
        assert isinstance(distribution, IntDistribution | FloatDistribution)
        return min(1.0, max(0.0, unit(distribution, max(value, distribution.low))))
