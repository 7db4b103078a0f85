"""Intervals and leads against numbers that statistics books give."""

from __future__ import annotations

import random
from statistics import fmean

import pytest

from nas.confirming.chance import half_width, lead, standard_error


def test_the_interval_is_students() -> None:
    assert half_width([0.9]) is None
    found = half_width([1.0, 2.0, 3.0])  # t of 2 degrees of freedom is 4.3027, the standard deviation 1
    assert found == pytest.approx(4.302653 / 3**0.5, rel=1e-6)


def test_it_holds_the_mean_in_95_of_100_samples() -> None:
    rng = random.Random(0)
    samples = [[rng.gauss(0, 1) for _ in range(3)] for _ in range(2000)]
    share = fmean(abs(fmean(sample)) <= (half_width(sample) or 0) for sample in samples)
    assert 0.93 < share < 0.97


def test_pairs_see_what_seeds_share() -> None:
    """Both swing by 10 points with the seed, and one is always a point ahead."""
    swing = {1: 0.5, 2: 0.6, 3: 0.55}
    ahead = {seed: value + 0.01 + seed / 10_000 for seed, value in swing.items()}
    assert lead(ahead, swing, images=5000).sure
    assert not lead(swing, ahead, images=5000).sure
    assert lead({1: 0.9}, {1: 0.1}, images=100).half_width is None
    assert lead({1: 0.9}, {2: 0.1}, images=100).pairs == 0


def test_equal_differences_are_believed_to_an_image_only() -> None:
    one_image = dict.fromkeys(range(3), 0.51), dict.fromkeys(range(3), 0.5)
    assert not lead(*one_image, images=100).sure
    assert lead(*one_image, images=5000).sure


def test_the_noise_of_an_accuracy_is_never_below_an_image() -> None:
    assert standard_error(0.5, 100) == pytest.approx(0.05)
    assert standard_error(1.0, 100) == 0.01
