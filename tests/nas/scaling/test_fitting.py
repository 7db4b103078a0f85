"""A quadratic on the simplex finds a planted optimum; a verdict knows noise from a difference."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from nas.scaling.fitting import Exponents, fit_quadratic, needed, simplex
from nas.scaling.verdict import judge, noise_of

PLANE: list[Exponents] = [
    (0, 1, 0),
    (0.1, 0.8, 0.1),
    (1 / 3, 1 / 3, 1 / 3),
    (0.28, 0.29, 0.43),
    (0.5, 0.5, 0),
    (1, 0, 0),
    (0, 0, 1),
]
LINE: list[Exponents] = [(0.0, 1.0, 0.0), (0.4, 0.6, 0.0), (1.0, 0.0, 0.0)]


def planted(best: Exponents, height: float = 0.8, steepness: float = 0.3) -> Callable[[Exponents], float]:
    def score(point: Exponents) -> float:
        return height - steepness * sum((a - b) ** 2 for a, b in zip(point, best, strict=True))

    return score


@pytest.mark.parametrize("best", [(0.3, 0.7, 0.0), (0.0, 1.0, 0.0), (0.75, 0.25, 0.0)])
def test_the_optimum_on_the_line_from_width_to_depth_is_found(best: Exponents) -> None:
    score = planted(best)
    found = fit_quadratic(LINE, [score(point) for point in LINE])
    assert not found.plane
    assert found.peak() == pytest.approx(best, abs=0.05)
    assert found.at(best) == pytest.approx(0.8, abs=0.003)


@pytest.mark.parametrize("best", [(0.2, 0.5, 0.3), (0.6, 0.2, 0.2), (0.1, 0.9, 0.0)])
def test_the_optimum_in_the_plane_is_found(best: Exponents) -> None:
    score = planted(best)
    found = fit_quadratic(PLANE, [score(point) for point in PLANE])
    assert found.plane
    assert found.peak() == pytest.approx(best, abs=0.15)


def test_noise_moves_the_optimum_little_beside_a_true_difference() -> None:
    best, score = (0.3, 0.7, 0.0), planted((0.3, 0.7, 0.0), steepness=0.3)
    points = [(step / 6, 1 - step / 6, 0.0) for step in range(7)]
    for seed in range(20):
        noise = random.Random(seed)
        found = fit_quadratic(points, [score(point) + noise.gauss(0, 0.003) for point in points])
        assert found.peak()[0] == pytest.approx(best[0], abs=0.08)


def test_too_few_points_are_refused() -> None:
    assert (needed(LINE), needed(PLANE)) == (3, 6)
    with pytest.raises(ValueError, match="takes 3 different points, given 2"):
        fit_quadratic([LINE[0], LINE[1], LINE[0]], [1, 2, 3])


def test_the_grid_holds_shares_alone() -> None:
    grid = simplex(8, plane=True)
    assert len(grid) == len(set(grid)) == 45
    assert all(min(point) >= 0 and sum(point) == 1 for point in grid)
    assert len(simplex(8, plane=False)) == 9


def test_a_clear_winner_is_taken_and_sure() -> None:
    found = judge([[0.70, 0.71], [0.80, 0.81], [0.75, 0.76]], [1, 9, 1], 1000)
    assert (found.chosen, found.best, found.second) == (1, 1, 2)
    assert found.gap == pytest.approx(0.05)
    assert found.error == pytest.approx(0.01 / 2**0.5)  # two means of two, each training off by 0.01 / sqrt 2
    assert found.sure
    assert not found.tie_decided


def test_a_tie_goes_to_the_fewest_activations_and_is_not_sure() -> None:
    found = judge([[0.80, 0.82], [0.81, 0.82], [0.60, 0.61]], [50, 90, 10], 1000)
    assert (found.best, found.chosen, found.tied) == (1, 0, (1, 0))
    assert found.tie_decided
    assert not found.sure


def test_of_pure_noise_it_is_seldom_sure() -> None:
    said = 0
    for seed in range(200):
        noise = random.Random(seed)
        said += judge([[0.7 + noise.gauss(0, 0.01) for _ in range(2)] for _ in range(5)], [5, 4, 3, 2, 1], 5000).sure
    assert said <= 20


def test_noise_of_single_trainings_is_that_of_counting() -> None:
    assert noise_of([[0.5], [0.5]], 2500) == pytest.approx(0.01)
    assert noise_of([[0.5, 0.5], [0.6, 0.6]], 200) == 1 / 200
