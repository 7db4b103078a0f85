"""What is expected of trials that stopped early, against what was planted."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nas.pruners.rungs import promoted
from nas.samplers.curves import FINAL, STEPS, Curve, Line, comparable


def climbed(
    count: int, seed: int, rungs: tuple[float, ...] = (3, 13), noise: float = 0.3
) -> tuple[list[Curve], np.ndarray, np.ndarray]:
    """Curves cut off by rungs of which a third goes on, the whole values (a column a step), and the last ones.

    Each step halves the distances between networks and adds noise of its own.
    """
    rng = np.random.default_rng(seed)
    values = [rng.normal(size=count)]
    for _ in rungs:
        values.append(0.5 * values[-1] + 1 + 0.5 * noise * rng.normal(size=count))
    whole = np.stack(values, axis=1)
    curves: list[Curve] = []
    passed: list[list[tuple[float]]] = [[] for _ in rungs]
    for row in whole:
        curve: dict[float, float] = {}
        for step, value, before in zip(rungs, row, passed, strict=False):
            curve[step] = float(value)
            before.append((float(value),))
            if not promoted(before, len(before) - 1):
                break
        else:
            curve[FINAL] = float(row[-1])
        curves.append(curve)
    return curves, whole, whole[:, -1]


def test_what_is_expected_of_pruned_trials_is_what_they_would_have_come_to() -> None:
    """Although a third of a rung's best alone is seen at the next, neither level nor slope is off."""
    errors, slopes = [], []
    for seed in range(20):
        curves, _, final = climbed(400, seed)
        stopped = np.array([FINAL not in curve for curve in curves])
        scores = comparable(curves)
        errors.append((scores - final)[stopped].mean())
        slopes.append(np.polyfit(scores[stopped], final[stopped], 1)[0])
        assert scores[~stopped].tolist() == final[~stopped].tolist()
    assert abs(np.mean(errors)) < 0.03  # of a spread of 0.3 between the networks
    assert 0.85 < np.mean(slopes) < 1.2


def test_they_rank_unpromoted_trials_by_all_that_is_known_of_them() -> None:
    """The rank among the complete ones, which says the same of two thirds of all trials, is what this replaces."""
    curves, whole, final = climbed(60, 0)
    stopped = [index for index, curve in enumerate(curves) if max(curve) == 3]
    scores = comparable(curves)
    assert len(np.unique(scores[stopped])) == len(stopped)
    assert np.corrcoef(scores, final)[0, 1] > 0.8
    assert np.argsort(scores[stopped]).tolist() == np.argsort(whole[stopped, 0]).tolist()


def test_with_few_that_went_on_everything_is_compared_at_the_step_that_all_share() -> None:
    curves: list[Curve] = [{3: 0.2}, {3: 0.3, 13: 0.5, FINAL: 0.9}, {3: 0.4, 13: 0.45, FINAL: 0.8}, {3: 0.35, 13: 0.4}]
    assert comparable(curves).tolist() == [0.2, 0.3, 0.4, 0.35]


def test_with_few_complete_ones_it_is_the_last_rung_that_enough_came_to() -> None:
    """Six came to 13, of which two are complete: all count by their value at 13, or by what is expected of it."""
    curves: list[Curve] = [{3: 0.3, 13: 0.65}, {3: 0.4, 13: 0.7}, {3: 0.5, 13: 0.75}, {3: 0.6, 13: 0.8}]
    curves += [{3: 0.7, 13: 0.85, FINAL: 0.95}, {3: 0.8, 13: 0.9, FINAL: 0.94}, {3: 0.2}]
    scores = comparable(curves)
    assert scores[:6] == pytest.approx([0.65, 0.7, 0.75, 0.8, 0.85, 0.9])
    assert 0.58 < scores[6] < 0.65


def test_complete_trials_alone_count_as_they_are() -> None:
    assert comparable([{FINAL: 0.5}, {1: 0.1, FINAL: 0.7}, {FINAL: -0.5}]).tolist() == [0.5, 0.7, -0.5]
    assert comparable([]).tolist() == []


def test_pruned_trials_alone_are_compared_as_far_as_they_go() -> None:
    assert comparable([{1: 0.5}, {1: 0.4}]).tolist() == [0.5, 0.4]
    assert comparable([{1: 0.5, 2: 0.6}, {1: 0.4}]).tolist() == [0.5, 0.4]


def test_a_trial_of_a_step_that_no_other_has_says_nothing_and_spoils_nothing() -> None:
    curves, _, _ = climbed(100, 1)
    usual = comparable(curves)
    scores = comparable([*curves, {5: 0.1}])
    assert scores[:-1].tolist() == usual.tolist()
    assert math.isnan(scores[-1])


@pytest.mark.parametrize("stopped", [1, 9])
def test_nothing_is_known_of_stopped_trials_where_complete_ones_have_no_curve(stopped: int) -> None:
    scores = comparable([{FINAL: 0.5}, {FINAL: 0.7}, *[{3.0: 0.9}] * stopped])
    assert scores[:2].tolist() == [0.5, 0.7]
    assert np.isnan(scores[2:]).all()


def test_steps_without_end_are_few_to_it() -> None:
    """Each trial stops at a step of its own, as with a limit of time: it takes no longer and orders them well."""
    rng = np.random.default_rng(0)
    quality = rng.random(300)
    curves: list[Curve] = []
    for index, final in enumerate(quality):
        curve = {float(step): float(final) * step / (step + 50) for step in range(1, 301 - index % 250)}
        curves.append({**curve, FINAL: float(final)} if index % 250 == 0 or index >= 250 else curve)
    scores = comparable(curves)
    assert len({max(curve) for curve in curves}) > 10 * STEPS
    assert np.isfinite(scores).mean() > 0.95
    known = np.isfinite(scores)
    assert np.corrcoef(scores[known], quality[known])[0, 1] > 0.9


def test_a_line_takes_no_notice_of_some_wild_trials() -> None:
    rng = np.random.default_rng(0)
    earlier = rng.random(60)
    later = 0.4 * earlier + 0.5 + rng.normal(0, 0.01, 60)
    later[::8] = rng.normal(0, 100, 8)
    line = Line.through(earlier, later)
    assert line.slope == pytest.approx(0.4, abs=0.05)
    assert line(np.array([0.5]))[0] == pytest.approx(0.7, abs=0.02)


def test_few_trials_do_not_say_that_worse_is_better() -> None:
    earlier = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    assert Line.through(earlier, 0.9 - 5 * earlier).slope == 0
    assert Line.through(earlier, np.array([0.6, 0.5, 0.7, 0.5, 0.7])).slope > 0
    many = np.linspace(0, 1, 100)
    assert Line.through(many, 0.9 - many).slope == 0


def test_equal_values_make_a_level_line() -> None:
    assert Line.through(np.ones(5), np.arange(5.0)) == Line(0.0, 2.0)
    assert Line.through(np.arange(5.0), np.ones(5)) == Line(0.0, 1.0)
