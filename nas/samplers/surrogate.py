"""A Gaussian process over encoded parameters: what a study's own results say about parameters nobody has tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

from nas.samplers.encoding import Encoding, Floats

STEPS = 10  # of the optimizer: more of them fit the kernel better and choose no better
JITTER = 1e-6
DEVIATION = 1.0  # of the normal prior on the logarithm of each kernel parameter


class Model(Protocol):
    """Fitted to rows and their values."""

    left_out: Floats  # of each row its value as predicted from the others alone

    def predict(self, rows: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation for each row."""
        ...


class Surrogate(Protocol):
    def __call__(self, encoding: Encoding, rows: Floats, values: Floats) -> Model: ...


@dataclass(frozen=True)
class Kernel:
    """Additive effects of the parameters plus their interactions, over distances D_j in 0..1 of each parameter j.

    k = sum_j w_j (1 - D_j) + b exp(-sum_j l_j D_j). The second term alone is the exponential Hamming kernel where no
    parameter is a number; the first is what ridge regression on one-hot columns has. Logarithms are kept, in the order
    l, w, b, noise.
    """

    logs: Floats

    @classmethod
    def prior(cls, shares: Floats) -> Kernel:
        """Nearly all in interactions, additive effects only where the results insist; `shares` as in `Encoding`.

        With half of the variance additive the regret on the tables of docs/benchmarks.md was a tenth larger.
        """
        return cls(np.log(np.concatenate([2 * shares, shares / 50, [1.0, 0.05]])))

    @property
    def parameters(self) -> int:
        return (len(self.logs) - 2) // 2

    @property
    def rates(self) -> Floats:
        return np.exp(self.logs[: self.parameters])

    @property
    def weights(self) -> Floats:
        return np.exp(self.logs[self.parameters : 2 * self.parameters])

    @property
    def scale(self) -> float:
        return float(np.exp(self.logs[-2]))

    @property
    def noise(self) -> float:
        return float(np.exp(self.logs[-1]))

    @property
    def variance(self) -> float:
        return self.scale + float(self.weights.sum())

    def interactions(self, distances: Floats) -> Floats:
        return self.scale * np.exp(-np.tensordot(self.rates, distances, 1))

    def __call__(self, distances: Floats) -> Floats:
        additive = self.weights.sum() - np.tensordot(self.weights, distances, 1)
        return additive + self.interactions(distances)


class GaussianProcess:
    """Rasmussen and Williams 2006, chapters 2 and 5, with the kernel that is likeliest a posteriori."""

    def __init__(self, encoding: Encoding, rows: Floats, values: Floats) -> None:
        self._encoding, self._rows = encoding, rows
        self._centre, self._spread = float(values.mean()), float(values.std()) or 1.0
        targets = (values - self._centre) / self._spread
        distances = encoding.distances(rows, rows)
        self._kernel = _likeliest(distances, targets, encoding.shares)
        covariance = self._kernel(distances) + (self._kernel.noise + JITTER) * np.eye(len(rows))
        self._factor = cho_factor(covariance, lower=True)
        self._solved = cho_solve(self._factor, targets)
        inverse = cho_solve(self._factor, np.eye(len(rows)))
        self.left_out = self._centre + self._spread * (targets - self._solved / np.diag(inverse))

    def predict(self, rows: Floats) -> tuple[Floats, Floats]:
        across = self._kernel(self._encoding.distances(self._rows, rows))
        known = solve_triangular(self._factor[0], across, lower=True)
        variance = np.maximum(self._kernel.variance - (known**2).sum(0), 1e-10)
        return self._centre + self._spread * (across.T @ self._solved), self._spread * np.sqrt(variance)


def _likeliest(distances: Floats, targets: Floats, shares: Floats) -> Kernel:
    prior = Kernel.prior(shares).logs

    def loss(logs: Floats) -> tuple[float, Floats]:
        value, gradient = _surprise(Kernel(logs), distances, targets)
        away = (logs - prior) / DEVIATION
        return value + 0.5 * float(away @ away), gradient + away / DEVIATION

    # Exponents beyond these overflow; nothing is decided out there.
    bounds = [(start - 8, start + 8) for start in prior]
    return Kernel(minimize(loss, prior, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS}).x)


def _surprise(kernel: Kernel, distances: Floats, targets: Floats) -> tuple[float, Floats]:
    """The negative log marginal likelihood up to a constant, and its gradient by the logarithms of the kernel."""
    size = len(targets)
    interactions = kernel.interactions(distances)
    factor = cho_factor(kernel(distances) + (kernel.noise + JITTER) * np.eye(size), lower=True)
    inverse = cho_solve(factor, np.eye(size))
    solved = inverse @ targets
    slope = 0.5 * (inverse - np.outer(solved, solved))
    flat = distances.reshape(len(distances), -1)
    by_rate = -kernel.rates * (flat @ (slope * interactions).ravel())
    by_weight = kernel.weights * (slope.sum() - flat @ slope.ravel())
    by_scale, by_noise = float((slope * interactions).sum()), kernel.noise * float(np.trace(slope))
    value = 0.5 * float(targets @ solved) + float(np.log(np.diag(factor[0])).sum())
    return value, np.concatenate([by_rate, by_weight, [by_scale, by_noise]])
