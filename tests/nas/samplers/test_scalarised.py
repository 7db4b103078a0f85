"""Several objectives, one score for each suggestion."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import Trial, TrialState, create_trial

from nas.samplers import make_sampler
from nas.samplers.history import History
from nas.samplers.scalarised import draw_weights, scalarised

optuna.logging.set_verbosity(optuna.logging.ERROR)

MINIMISED = np.array([False, True])


def test_weights_reach_from_one_objective_to_the_other() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([draw_weights(2, rng) for _ in range(500)])
    assert drawn.sum(axis=1) == pytest.approx(np.ones(500))
    assert np.quantile(drawn[:, 0], [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.06)


def test_each_weight_prefers_another_end_of_the_front() -> None:
    values = np.array([[0.9, 1e9], [0.8, 1e7], [0.5, 1e5], [0.4, 1e6]])
    best = [int(np.argmax(scalarised(values, MINIMISED, np.array([w, 1 - w])))) for w in (0.99, 0.5, 0.01)]
    assert best == [0, 1, 2]


def test_no_dominated_result_is_the_best() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        values = np.stack([rng.integers(0, 5, 12) / 5, 10.0 ** rng.integers(1, 6, 12)], axis=1).astype(np.float64)
        best = values[int(np.argmax(scalarised(values, MINIMISED, draw_weights(2, rng))))]
        assert not ((values[:, 0] > best[0]) & (values[:, 1] <= best[1])).any()
        assert not ((values[:, 0] >= best[0]) & (values[:, 1] < best[1])).any()


def test_costs_count_by_their_orders_of_magnitude_and_signed_values_as_they_are() -> None:
    only_cost = np.array([0.0, 1.0])
    cost = np.array([[0.5, 1e5], [0.5, 1e7], [0.5, 1e9]])
    best, middle, worst = scalarised(cost, MINIMISED, only_cost)
    assert middle == pytest.approx((best + worst) / 2)
    signed = np.array([[0.5, -1.0], [0.5, 0.0], [0.5, 1.0]])
    best, middle, worst = scalarised(signed, MINIMISED, only_cost)
    assert middle == pytest.approx((best + worst) / 2)


def test_equal_values_of_an_objective_say_nothing() -> None:
    scores = scalarised(np.array([[0.5, 10.0], [0.5, 20.0]]), MINIMISED, np.array([0.5, 0.5]))
    assert scores[0] > scores[1]
    assert np.isfinite(scores).all()


# What a history makes of such a study


def of_two(names: bool = True) -> optuna.Study:
    study = optuna.create_study(directions=["maximize", "minimize"])
    if names:
        study.set_metric_names(["val_accuracy", "macs"])
    return study


def add(study: optuna.Study, rungs: dict[str, float], macs: float, final: float | None = None, **attributes) -> None:
    study.add_trial(
        create_trial(
            state=TrialState.PRUNED if final is None else TrialState.COMPLETE,
            values=None if final is None else [final, macs],
            params={"a": len(study.trials) / 100},
            distributions={"a": FloatDistribution(0, 1)},
            user_attrs={"rungs": rungs, "macs": macs, **attributes},
        )
    )


def scores(study: optuna.Study, *weights: float) -> list[float]:
    return [result.score for result in History.of(study, -1, np.array(weights)).results]


def test_pruned_trials_count_by_their_rungs_and_their_attributes_of_the_objectives_names() -> None:
    """`val_accuracy` of a pruned trial is an early one: it is not taken for the final one."""
    study = of_two()
    for place in range(6):
        accuracy = 0.4 + place / 20
        add(study, {"3": accuracy, "13": accuracy + 0.3}, 10.0**place, accuracy + 0.3, val_accuracy=accuracy + 0.3)
    add(study, {"3": 0.3}, 1e3, val_accuracy=0.3)
    add(study, {"3": 0.75}, 1e8, val_accuracy=0.75)
    by_accuracy, by_cost = scores(study, 1.0, 0.0), scores(study, 0.0, 1.0)
    assert np.argsort(by_accuracy).tolist() == [6, 0, 1, 2, 3, 4, 5, 7]
    assert by_cost[6] == pytest.approx(by_cost[3])
    assert np.argmin(by_cost) == 7


def test_a_pruned_trial_whose_objectives_are_not_known_has_no_result() -> None:
    for named in (True, False):
        study = of_two(named)
        add(study, {"3": 0.5}, 1e3, 0.8)
        add(study, {"3": 0.4}, 1e2)
        assert len(scores(study, 0.5, 0.5)) == (2 if named else 1)
        study.add_trial(
            create_trial(
                state=TrialState.PRUNED, params={"a": 0.9}, distributions={"a": FloatDistribution(0, 1)}, user_attrs={}
            )
        )
        assert len(scores(study, 0.5, 0.5)) == (2 if named else 1)


@pytest.mark.parametrize("strange", [None, 3, "text", {"3": None}, {"first": 0.5}, [1, 2]])
def test_an_attribute_of_somebody_else_is_no_curve(strange) -> None:
    study = of_two()
    add(study, strange, 1e3, 0.8)
    add(study, strange, 1e3)
    assert len(scores(study, 0.5, 0.5)) == 1


def test_rungs_of_one_objective_count_like_reports() -> None:
    reported, noted = optuna.create_study(direction="maximize"), optuna.create_study(direction="maximize")
    for place in range(9):
        curve = {3: place / 10} if place < 3 else {3: place / 10, 13: 0.5 + place / 20}
        common = {
            "state": TrialState.PRUNED if place < 3 else TrialState.COMPLETE,
            "value": None if place < 3 else curve[13],
            "params": {"a": place / 10},
            "distributions": {"a": FloatDistribution(0, 1)},
        }
        reported.add_trial(create_trial(**common, intermediate_values=curve))
        noted.add_trial(
            create_trial(**common, user_attrs={"rungs": {str(step): value for step, value in curve.items()}})
        )
    first, second = (History.of(study, -1).results for study in (reported, noted))
    assert [result.score for result in first] == [result.score for result in second]
    assert len({result.score for result in first}) == 9


# What it is good for


def network(trial: Trial) -> tuple[float, float]:
    """Eight choices of four; a right one adds accuracy, and the larger an option is the more it costs, by factors."""
    values = [trial.suggest_categorical(f"c{index}", (0, 1, 2, 3)) for index in range(8)]
    right = sum((value == index % 4) for index, value in enumerate(values)) + 0.5 * (values[0] == values[1])
    return right / 8, float(10 ** (sum(values) / 4))


def volume(sampler: str, count: int, seed: int) -> float:
    """What a front dominates of accuracy times the logarithm of the cost."""
    study = optuna.create_study(directions=["maximize", "minimize"])
    for number in range(count):
        study.sampler = make_sampler(sampler, seed * 1009 + number)
        trial = study.ask()
        study.tell(trial, network(trial))
    front = sorted((trial.values[0], 6 - np.log10(trial.values[1])) for trial in study.best_trials)
    heights = [0.0, *(accuracy for accuracy, _ in front)]
    return sum((high - low) * reach for low, high, (_, reach) in zip(heights, heights[1:], front, strict=False))


def test_it_widens_a_front_further_than_chance_and_tpe_do() -> None:
    found = {name: np.mean([volume(name, 60, seed) for seed in range(3)]) for name in ("evolution", "random", "tpe")}
    assert found["evolution"] > found["random"] + 0.5
    assert found["evolution"] > found["tpe"]
