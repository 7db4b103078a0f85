"""What share of the growth depth, width and resolution should have: a quadratic through a few measured scores.

Shares are Dollar et al. 2021's exponents (e_depth, e_width, e_resolution): none below zero, 1 together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Exponents = tuple[float, float, float]

RIDGE = 3e-4  # lost least to noise of six values from 1e-6 to 1e-3: a planted optimum, seven noisy points in the plane
STILL = 1e-6  # shares of resolution that differ by less are one


@dataclass(frozen=True)
class Quadratic:
    """A score for any shares; `plane` where resolution has a part in it, else it is a curve from width to depth."""

    mean: float
    centre: tuple[float, ...]
    weights: tuple[float, ...]
    plane: bool

    def at(self, shares: Exponents) -> float:
        """The score that is expected of these shares."""
        features = np.array(_features(shares, self.plane)) - np.array(self.centre)
        return self.mean + float(features @ np.array(self.weights))

    def peak(self, parts: int = 40) -> Exponents:
        """The shares of the highest score, each a multiple of 1/parts."""
        return max(simplex(parts, self.plane), key=self.at)


def needed(points: Sequence[Exponents]) -> int:
    """How many different points a quadratic through such points takes: 3 on a line, 6 in the plane."""
    return 6 if _is_plane(points) else 3


def fit_quadratic(points: Sequence[Exponents], scores: Sequence[float], ridge: float = RIDGE) -> Quadratic:
    """Ridge-regularised least squares of the scores on the shares, their squares and product.

    Where all points have the same share of resolution, that is left out. The mean is not drawn to zero.

    Raises:
        ValueError: fewer different points than `needed`.
    """
    if len(set(points)) < needed(points):
        raise ValueError(f"a quadratic takes {needed(points)} different points, given {len(set(points))}")
    plane = _is_plane(points)
    rows = np.array([_features(point, plane) for point in points])
    values = np.array(scores, dtype=float)
    centre, mean = rows.mean(axis=0), float(values.mean())
    rows, values = rows - centre, values - mean
    weights = np.linalg.solve(rows.T @ rows + ridge * np.eye(rows.shape[1]), rows.T @ values)
    return Quadratic(mean, tuple(map(float, centre)), tuple(map(float, weights)), plane)


def simplex(parts: int, plane: bool) -> list[Exponents]:
    """All shares that are multiples of 1/parts; those without resolution alone where not `plane`."""
    return [
        (depth / parts, (parts - depth - resolution) / parts, resolution / parts)
        for resolution in range(parts + 1 if plane else 1)
        for depth in range(parts + 1 - resolution)
    ]


def _is_plane(points: Sequence[Exponents]) -> bool:
    resolutions = [point[2] for point in points]
    return max(resolutions) - min(resolutions) > STILL


def _features(shares: Exponents, plane: bool) -> tuple[float, ...]:
    depth, _, resolution = shares
    return (depth, depth**2, resolution, resolution**2, depth * resolution) if plane else (depth, depth**2)
