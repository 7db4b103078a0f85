"""Who goes on from a rung."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from nas.errors import NasError
from nas.pruners.rungs import RungPruner, order, promoted

optuna.logging.set_verbosity(optuna.logging.ERROR)


def climbed(
    accuracies: list[float],
    *,
    steps: tuple[int, ...] = (3, 13, 33),
    rungs: tuple[int, ...] = (3, 13),
    direction: Literal["maximize", "minimize"] = "maximize",
) -> list[int]:
    """How many steps each trial takes, one trial after the other; it reports its accuracy at every step."""
    study, sign = optuna.create_study(direction=direction, pruner=RungPruner(rungs)), {"maximize": 1, "minimize": -1}
    for accuracy in accuracies:
        trial = study.ask()
        for step in steps:
            trial.report(sign[direction] * accuracy, step)
            if trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                break
        else:
            study.tell(trial, sign[direction] * accuracy)
    return [len(trial.intermediate_values) for trial in study.trials]


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_a_trial_goes_on_if_it_is_among_the_best_third_so_far(direction: Literal["maximize", "minimize"]) -> None:
    """The sixth is the second best of six, the seventh the third best of seven; the last is best of all."""
    assert climbed([0.5, 0.4, 0.6, 0.3, 0.2, 0.55, 0.52, 0.9], direction=direction) == [3, 1, 3, 1, 1, 2, 1, 3]


def test_of_many_trials_in_a_random_order_about_a_third_passes_each_rung() -> None:
    rng, passed = np.random.default_rng(0), []
    for _ in range(10):
        taken = np.array(climbed(rng.permutation(np.linspace(0.1, 0.9, 90)).tolist()))
        passed.append([(taken > 1).sum(), (taken > 2).sum()])
    first, second = np.mean(passed, axis=0)
    assert 27 <= first <= 33
    assert 8 <= second <= 14


def test_between_rungs_nobody_is_pruned() -> None:
    assert climbed([0.9, 0.1, 0.05], steps=(1, 2, 4), rungs=(3,)) == [3, 3, 3]


def test_of_equal_values_the_earlier_goes_on() -> None:
    assert climbed([0.1] * 6) == [3, 1, 1, 1, 1, 1]


def test_what_is_not_a_number_does_not_go_on_and_counts_as_the_worst() -> None:
    assert climbed([math.nan, math.nan, math.nan, math.nan, 0.1, 0.2]) == [1, 1, 1, 1, 3, 3]


def test_trials_that_still_run_or_failed_count() -> None:
    study = optuna.create_study(direction="maximize", pruner=RungPruner((1,)))
    running, failed, trial = study.ask(), study.ask(), study.ask()
    running.report(0.4, 1)
    trial.report(0.5, 1)
    assert not trial.should_prune()
    failed.report(0.9, 1)
    study.tell(failed, state=TrialState.FAIL)
    assert trial.should_prune()


@pytest.mark.parametrize(("rungs", "factor"), [((0, 3), 3), ((3, 3), 3), ((13, 3), 3), ((3, 13), 1)])
def test_unusable_rungs_are_refused(rungs: tuple[int, ...], factor: int) -> None:
    with pytest.raises(NasError):
        RungPruner(rungs, factor)


# Several objectives


def kept(values: list[tuple[float, ...]], factor: int = 3) -> list[int]:
    return [own for own in range(len(values)) if promoted(values, own, factor)]


def test_one_objective_is_ranked_plainly() -> None:
    assert kept([(0.1,), (0.9,), (0.3,), (0.8,), (0.2,), (0.7,)]) == [1, 3]
    assert kept([(0.1,)]) == [0]


def test_small_cheap_networks_survive() -> None:
    """The cheapest is far less accurate than 17 of the 18, but no network is as cheap."""
    dear = [(0.90 + index / 1000, -1e8 - 1e6 * index) for index in range(12)]
    dominated = [(0.85, -2e8 - index) for index in range(5)]
    values = [*dominated, (0.30, -1e5), *dear]
    assert 5 in kept(values)
    assert not set(kept(values)) & set(range(5))
    by_accuracy_alone = kept([value[:1] for value in values])
    assert 5 not in by_accuracy_alone


def test_a_front_is_kept_from_end_to_end() -> None:
    front = [(float(index), float(-index)) for index in range(9)]
    assert order(front, 3) == [8, 0, 4]
    assert sorted(order(front, 9)) == list(range(9))


def test_a_better_front_comes_before_a_wider_one() -> None:
    """The second front reaches further, but each of its networks is dominated."""
    first, second = [(1.0, 3.0), (3.0, 1.0)], [(0.0, 2.9), (0.9, 0.9), (2.9, 0.0)]
    assert set(order([*second, *first], 2)) == {3, 4}
    assert order([*second, *first], 2)[0] == 4  # Of the best first objective.


def test_the_order_of_fronts_is_that_of_domination() -> None:
    """Against the definition: nobody is dominated by one of its own or a later place's front."""
    rng = np.random.default_rng(0)
    for objectives in (2, 3):
        values = [tuple(row) for row in rng.integers(0, 6, (60, objectives)).astype(float)]
        places = {index: place for place, index in enumerate(order(values, 60))}
        assert len(places) == 60
        for one, first in enumerate(values):
            for other, second in enumerate(values):
                if first != second and all(a >= b for a, b in zip(first, second, strict=True)):
                    assert places[one] < places[other]


def test_units_and_logarithms_of_an_objective_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    values = [(float(accuracy), -float(macs)) for accuracy, macs in zip(rng.random(40), rng.random(40), strict=True)]
    scaled = [(accuracy, -math.exp(-20 * cost)) for accuracy, cost in values]
    assert order(values, 40) == order(scaled, 40)


def test_a_value_that_is_not_a_number_is_not_promoted() -> None:
    assert kept([(math.nan, -1.0)]) == []
    assert kept([(math.nan, -1.0), (0.5, -2.0), (0.4, -3.0)]) == [1]
