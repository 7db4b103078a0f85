"""What every sampler of the table is promised to do, and what EvolutionSampler adds to it."""

from __future__ import annotations

import itertools
import math
import random
import statistics
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from nas.samplers import SAMPLERS, make_sampler
from nas.samplers.children import Conditions, change, child, draw
from nas.samplers.encoding import Encoding, Floats, number, unit
from nas.samplers.evolution import EvolutionSampler, Settings
from nas.samplers.gate import expected_improvement, proven, winsorised
from nas.samplers.history import History, Result
from nas.samplers.ranking import by_score
from nas.samplers.surrogate import GaussianProcess, Kernel, _surprise
from searchspace.spaces import find_space

optuna.logging.set_verbosity(optuna.logging.ERROR)

SPACE: dict[str, BaseDistribution] = {
    "family": CategoricalDistribution(("conv", "mbconv", True, 1)),
    "depth": IntDistribution(1, 9, step=2),
    "width": IntDistribution(8, 128, log=True),
    "dropout": FloatDistribution(0.0, 0.5, step=0.1),
    "rate": FloatDistribution(1e-4, 1e-1, log=True),
    "momentum": FloatDistribution(0.5, 0.99),
}


def mixed(trial: Trial) -> float:
    """Every kind of parameter."""
    value = float(trial.suggest_categorical("family", ("conv", "mbconv", True, 1)) == "mbconv")
    value += trial.suggest_int("depth", 1, 9, step=2) / 9 + math.log(trial.suggest_int("width", 8, 128, log=True)) / 5
    value -= trial.suggest_float("dropout", 0, 0.5, step=0.1) + trial.suggest_float("momentum", 0.5, 0.99)
    return value - abs(math.log10(trial.suggest_float("rate", 1e-4, 1e-1, log=True)) + 2)


def conditional(trial: Trial) -> float:
    if trial.suggest_categorical("family", ("conv", "mbconv")) == "conv":
        return trial.suggest_int("kernel", 1, 7, step=2) / 7
    bonus = trial.suggest_float("squeeze", 0, 1) if trial.suggest_categorical("attention", (True, False)) else 0.0
    return trial.suggest_int("expansion", 1, 6) / 6 + bonus


def real(trial: Trial) -> float:
    """The conditional choices of a space that people search."""
    space = find_space("tiny")
    code = space.encode(space.choose(trial))
    return sum(number * (index % 5 - 2) for index, number in enumerate(code))


OBJECTIVES = {"mixed": mixed, "conditional": conditional, "tiny": real}


def ask(study: optuna.Study, sampler: str | Callable[[int], BaseSampler], seed: int) -> Trial:
    """A trial of a sampler made for it alone, as the search does."""
    study.sampler = make_sampler(sampler, seed) if isinstance(sampler, str) else sampler(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return study.ask()


def search(
    objective: Callable[[Trial], float],
    sampler: str | Callable[[int], BaseSampler],
    count: int,
    seed: int = 0,
    direction: Literal["maximize", "minimize"] = "maximize",
) -> optuna.Study:
    study = optuna.create_study(direction=direction)
    for index in range(count):
        trial = ask(study, sampler, seed * 1009 + index)
        value = objective(trial)
        study.tell(trial, value if direction == "maximize" else -value)
    return study


def troubled(objective: Callable[[Trial], float], sampler: str) -> optuna.Study:
    """Of 30 trials some are pruned (with or without values), failed, over a limit, or still run."""
    study = optuna.create_study(direction="maximize")
    for index in range(30):
        trial = ask(study, sampler, index)
        value = objective(trial)
        if index % 6 == 1:
            trial.report(value / 2 if index % 4 == 1 else math.nan, 3)
            study.tell(trial, state=TrialState.PRUNED)
        elif index % 6 == 2:
            study.tell(trial, state=TrialState.FAIL)
        elif index % 6 == 3:
            trial.set_constraint("params", 0.5)
            trial.report(value, 3)
            study.tell(trial, state=TrialState.PRUNED)
        elif index % 6 != 4:
            trial.report(value / 2, 3)
            study.tell(trial, value)
    return study


# Every sampler of the table


@pytest.mark.parametrize("sampler", list(SAMPLERS))
@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_it_suggests_on_every_kind_of_space_whatever_became_of_the_trials(sampler: str, objective: str) -> None:
    """A value outside of its distribution would be refused by Optuna."""
    study = troubled(OBJECTIVES[objective], sampler)
    assert {trial.state for trial in study.trials} == {
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAIL,
        TrialState.RUNNING,
    }
    for trial in study.trials:
        for name, value in trial.params.items():
            assert trial.distributions[name]._contains(trial.distributions[name].to_internal_repr(value))


@pytest.mark.parametrize("sampler", list(SAMPLERS))
@pytest.mark.parametrize("objective", ["mixed", "conditional"])
def test_its_suggestions_follow_from_the_seed_and_the_trials_alone(sampler: str, objective: str) -> None:
    first, second = (troubled(OBJECTIVES[objective], sampler) for _ in range(2))
    assert [trial.params for trial in first.trials] == [trial.params for trial in second.trials]


@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_the_direction_changes_nothing_but_the_sign(sampler: str) -> None:
    count = 13 if sampler == "gp" else 25  # It takes a second for each trial that it models.
    up, down = (search(mixed, sampler, count, direction=direction) for direction in ("maximize", "minimize"))
    assert [trial.params for trial in up.trials] == [trial.params for trial in down.trials]


# EvolutionSampler


def onemax(trial: Trial) -> float:
    """Eight choices of four, each with a best one of its own, two of them interacting; the best is 9."""
    values = [trial.suggest_categorical(f"c{index}", (0, 1, 2, 3)) for index in range(8)]
    return sum(value == index % 4 for index, value in enumerate(values)) + (values[0] == 0 and values[5] == 1)


def evolution(**settings: Any) -> Callable[[int], BaseSampler]:
    return lambda seed: EvolutionSampler(seed=seed, **settings)


def best_of(sampler: Callable[[int], BaseSampler] | str, count: int = 40, seeds: int = 5) -> float:
    return statistics.mean(search(onemax, sampler, count, seed).best_value for seed in range(seeds))


def test_it_finds_the_optimum_where_chance_stays_far_away() -> None:
    assert best_of(evolution(), 60) >= 8.5
    assert best_of("random", 60) <= 6


def test_without_a_surrogate_it_is_still_better_than_chance() -> None:
    assert best_of(evolution(surrogate=None), 60) > best_of("random", 60) + 0.5


def guessing(asked: list[int], proof: Callable[[Floats], Floats]) -> Callable[[Encoding, Floats, Floats], Any]:
    """A surrogate that knows nothing of children; `asked` notes how many results it had whenever it was asked."""

    class Guess:
        def __init__(self, encoding: Encoding, rows: Floats, values: Floats) -> None:
            self.rng = np.random.default_rng(len(rows))
            self.left_out = proof(values)
            asked.append(0)

        def predict(self, rows: Floats) -> tuple[Floats, Floats]:
            asked[-1] = 1
            return self.rng.normal(size=len(rows)), np.ones(len(rows))

    return Guess


def test_a_surrogate_that_only_guesses_is_gated_off() -> None:
    """Chance lets it pass one ask in twenty; the search is about as good as without it, and far better than with it."""
    rng = np.random.default_rng(0)
    gated, believed = [], []
    alone = best_of(evolution(surrogate=None), 60)
    assert best_of(evolution(surrogate=guessing(gated, lambda values: rng.permutation(values))), 60) > alone - 0.6
    best_of(evolution(surrogate=guessing(believed, lambda values: values)), 60)
    assert statistics.mean(gated) < 0.15
    assert statistics.mean(believed) == 1  # The control: one that passes is asked.


def test_few_results_prove_nothing_by_chance() -> None:
    rng, values = np.random.default_rng(0), np.arange(12.0)
    passed = [proven(rng.permutation(values), values) > 0 for _ in range(400)]
    assert 0 < statistics.mean(passed) < 0.1
    assert proven(values, values) == pytest.approx(1)
    assert proven(-values, values) == 0
    assert proven(np.zeros(12), values) == 0


def suggestions(study: optuna.Study, count: int, **settings: Any) -> list[Mapping[str, Any]]:
    """What as many seeds suggest on one and the same study; the trials asked are failed and hidden again."""
    space = optuna.search_space.intersection_search_space(study.get_trials())
    trial = FrozenTrial(len(study.trials), TrialState.RUNNING, None, None, None, {}, {}, {}, {}, {}, -1)
    return [EvolutionSampler(seed=seed, **settings).sample_relative(study, trial, space) for seed in range(count)]


ALONE = Settings(random_share=0, tpe_share=0)


def test_without_a_ranking_a_suggestion_is_one_change_of_one_of_the_last_results() -> None:
    study = search(mixed, "random", 40)
    for given in suggestions(study, 20, settings=ALONE, surrogate=None):
        changes = [
            sum(given[name] != trial.params[name] for name in given) for trial in study.trials[-ALONE.population :]
        ]
        assert min(changes) == 1


def test_what_was_tried_is_not_suggested_again() -> None:
    """Of nine results of a space of twelve each trial is new."""
    study = optuna.create_study(direction="maximize")
    for first, second in list(itertools.product(range(4), range(3)))[:9]:
        distributions: dict[str, BaseDistribution] = {
            "a": CategoricalDistribution(range(4)),
            "b": CategoricalDistribution(range(3)),
        }
        study.add_trial(
            create_trial(params={"a": first, "b": second}, distributions=distributions, value=first + second)
        )
    tried = [trial.params for trial in study.trials]
    settings = Settings(startup=5, random_share=0, tpe_share=0)
    assert all(given not in tried for given in suggestions(study, 20, settings=settings))
    assert {given["a"] for given in suggestions(study, 20, settings=settings)} == {3}


@pytest.mark.parametrize("name", list(SPACE))
def test_a_change_is_another_value_of_the_distribution(name: str) -> None:
    rng, distribution = np.random.default_rng(0), SPACE[name]
    value = draw(distribution, rng)
    for _ in range(200):
        other = change(distribution, value, rng)
        assert (type(other), other) != (type(value), value)
        assert distribution._contains(distribution.to_internal_repr(other))
        value = other


def test_children_take_up_and_drop_what_depends_on_the_change() -> None:
    trials = [dict(trial.params) for trial in search(conditional, "random", 30).trials]
    space = {
        "family": CategoricalDistribution(("conv", "mbconv")),
        "kernel": IntDistribution(1, 7, step=2),
        "attention": CategoricalDistribution((True, False)),
        "squeeze": FloatDistribution(0, 1),
        "expansion": IntDistribution(1, 6),
    }
    rng, conditions = np.random.default_rng(0), Conditions(trials)
    for _ in range(200):
        given = child({"family": "conv", "kernel": 3}, space, conditions, rng)
        assert given is not None
        if given["family"] == "conv":
            assert given["kernel"] != 3
        assert given.keys() >= ({"kernel"} if given["family"] == "conv" else {"attention", "expansion"})
        assert ("kernel" in given) == (given["family"] == "conv")


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_a_pruned_trial_counts_as_what_it_would_have_come_to(direction: Literal["maximize", "minimize"]) -> None:
    """An unfinished 0.7 may be better than a finished 0.9; NaN says nothing."""
    sign = 1 if direction == "maximize" else -1
    study = optuna.create_study(direction=direction)
    for early, final in ((0.2, 0.7), (0.3, 0.75), (0.4, 0.8), (0.5, 0.85), (0.6, 0.9), (0.7, None), (math.nan, None)):
        study.add_trial(
            create_trial(
                state=TrialState.PRUNED if final is None else TrialState.COMPLETE,
                value=None if final is None else sign * final,
                params={"a": len(study.trials) / 100},
                distributions={"a": FloatDistribution(0, 1)},
                intermediate_values={1: sign * early},
            )
        )
    scores = [result.score for result in History.of(study, -1).results]
    assert scores[:5] == pytest.approx([0.7, 0.75, 0.8, 0.85, 0.9])
    assert 0.86 < scores[5] < 0.96
    assert len(scores) == 6


def test_a_trial_over_a_limit_says_nothing_of_quality() -> None:
    study = troubled(mixed, "random")
    over = [trial.params for trial in study.trials if trial.constraints]
    history = History.of(study, -1)
    assert over
    assert not any(result.params in over for result in history.results)
    assert len(history.pending) == 5


def test_a_score_ranks_children_if_it_ranks_results_and_a_misleading_one_does_not() -> None:
    """`size` rises with quality, `noise` does not; the children with the largest size are those with right choices."""
    study = search(onemax, "random", 60)

    def right(params: Mapping[str, Any]) -> float:
        return float(sum(params[f"c{index}"] == index % 4 for index in range(8)))

    scored = optuna.create_study(direction="maximize")
    for trial in study.trials:
        attributes = {"size": right(trial.params), "noise": random.Random(trial.number).random()}
        scored.add_trial(
            create_trial(
                params=trial.params, distributions=trial.distributions, value=trial.value, user_attrs=attributes
            )
        )

    def mean_of(**settings: Any) -> float:
        return statistics.mean(map(right, suggestions(scored, 20, surrogate=None, settings=ALONE, **settings)))

    blind = mean_of()
    assert mean_of(scores=lambda params: {"size": right(params)}) > blind + 0.5
    assert mean_of(scores=lambda params: {"size": -right(params), "noise": 1.0}) < blind
    assert mean_of(scores=lambda params: {"noise": -right(params)}) == pytest.approx(blind, abs=0.5)


def test_a_score_is_asked_of_a_few_children_and_of_one_where_it_has_proven_nothing() -> None:
    """A score takes as long as some steps of training."""
    study = optuna.create_study(direction="maximize")
    for trial in search(onemax, "random", 40).trials:
        attributes = {"known": trial.value, "noise": random.Random(trial.number).random()}
        study.add_trial(
            create_trial(
                params=trial.params, distributions=trial.distributions, value=trial.value, user_attrs=attributes
            )
        )
    asked: list[str] = []

    def score(name: str, params: Mapping[str, Any]) -> dict[str, float]:
        asked.append(name)
        return {name: float(params["c0"])}

    for name in ("known", "noise", "new"):
        suggestions(study, 10, surrogate=None, settings=ALONE, scores=partial(score, name))
    assert [asked.count(name) for name in ("known", "noise", "new")] == [10 * ALONE.scored_children, 10, 10]


def test_a_child_without_a_score_is_the_last_choice() -> None:
    """A network that cannot be built has none; Optuna keeps None of what was NaN."""
    results = [Result({"a": index}, float(index), {"size": None if index == 3 else index}) for index in range(20)]
    ranking = by_score(lambda params: {"size": params["a"]} if params["a"] < 50 else {}, results)
    assert np.argsort(ranking([{"a": 7}, {"a": math.nan}, {"a": 90}, {"a": 30}]))[-2:].tolist() == [0, 3]


def hashed(params: Mapping[str, Any]) -> float:
    """What no choice by itself tells: between 0 and 1, without a law."""
    return random.Random(str(sorted(params.items()))).random()


def knowing(attribute: str) -> optuna.Study:
    """60 results that are their `hashed` and a little noise, which they also have as an attribute."""
    study = optuna.create_study(direction="maximize")
    for trial in search(onemax, "random", 60).trials:
        value = hashed(trial.params)
        noise = 0.02 * random.Random(trial.number).random()
        study.add_trial(
            create_trial(
                params=trial.params,
                distributions=trial.distributions,
                value=value + noise,
                user_attrs={attribute: value},
            )
        )
    return study


def test_the_surrogate_learns_from_scores_what_the_parameters_do_not_tell() -> None:
    asked: list[Mapping[str, Any]] = []

    def score(params: Mapping[str, Any]) -> dict[str, float]:
        asked.append(params)
        return {"worth": hashed(params)}

    def mean_of(study: optuna.Study, **settings: Any) -> float:
        return statistics.mean(map(hashed, suggestions(study, 20, settings=ALONE, **settings)))

    study = knowing("worth")
    assert mean_of(study) == pytest.approx(0.5, abs=0.2)
    assert mean_of(study, scores=score) > 0.8
    # One tells the names, and none is asked of more children than it may be.
    assert len(asked) == 20 * (ALONE.scored_children + 1)
    # The control: results without the attribute teach nothing of it.
    assert mean_of(knowing("other"), scores=score) == pytest.approx(0.5, abs=0.2)


def test_the_surrogate_of_parameters_is_asked_first_and_all_children() -> None:
    """Where both tell something the few children that get scores are the best of all those that it ranks."""
    study = search(onemax, "random", 60)
    right = lambda params: float(sum(params[f"c{index}"] == index % 4 for index in range(8)))  # noqa: E731
    scored = optuna.create_study(direction="maximize")
    for trial in study.trials:
        attributes = {"right": right(trial.params) + 0.1 * hashed(trial.params)}
        scored.add_trial(
            create_trial(
                params=trial.params, distributions=trial.distributions, value=trial.value, user_attrs=attributes
            )
        )

    def mean_of(**settings: Any) -> float:
        return statistics.mean(map(right, suggestions(scored, 20, settings=ALONE, **settings)))

    assert mean_of(scores=lambda params: {"right": right(params)}) >= mean_of() - 0.1


@pytest.mark.parametrize("given", [{}, {"worth": math.nan}, {"worth": None}])
def test_children_without_a_score_are_ranked_nevertheless(given: Mapping[str, Any]) -> None:
    """Those that cannot be built have none."""
    seen = itertools.count()
    score = lambda params: {"worth": hashed(params)} if next(seen) % 5 == 0 else given  # noqa: E731
    assert all(suggestions(knowing("worth"), 5, settings=ALONE, scores=score))


# Its parts


@pytest.mark.parametrize(
    "name", [name for name, kind in SPACE.items() if not isinstance(kind, CategoricalDistribution)]
)
def test_places_of_numbers_return(name: str) -> None:
    rng, distribution = np.random.default_rng(0), SPACE[name]
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    for _ in range(50):
        value = draw(distribution, rng)
        assert number(distribution, unit(distribution, value)) == pytest.approx(value)
        assert 0 <= unit(distribution, value) <= 1


def test_distances_know_options_numbers_and_what_is_not_active() -> None:
    encoding = Encoding({"family": SPACE["family"], "depth": SPACE["depth"]})
    rows = encoding.rows([{"family": True, "depth": 1}, {"family": 1, "depth": 5}, {"family": "conv"}])
    family, depth = encoding.distances(rows, rows)
    assert family.tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    assert depth.tolist() == [[0, 0.5, 1], [0.5, 0, 1], [1, 1, 0]]


def test_the_likelihood_has_the_gradient_it_says() -> None:
    rng = np.random.default_rng(0)
    encoding = Encoding({"a": CategoricalDistribution("abc"), "b": FloatDistribution(0, 1)})
    rows = np.stack([rng.integers(0, 3, 12).astype(float), rng.random(12)], axis=1)
    distances, targets = encoding.distances(rows, rows), rng.normal(size=12)
    logs = Kernel.prior(np.array([0.5, 0.5])).logs + rng.normal(0, 0.3, 6)
    gradient = _surprise(Kernel(logs), distances, targets)[1]
    for index, slope in enumerate(gradient):
        step = np.eye(6)[index] * 1e-5
        rise = (
            _surprise(Kernel(logs + step), distances, targets)[0]
            - _surprise(Kernel(logs - step), distances, targets)[0]
        )
        assert rise / 2e-5 == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_leaving_one_out_is_what_it_says() -> None:
    """The shortcut equals the prediction of the same kernel fitted to the others, but for the standardising."""
    rng = np.random.default_rng(1)
    encoding = Encoding({name: CategoricalDistribution("abc") for name in "abcd"})
    rows = rng.integers(0, 3, (30, 4)).astype(float)
    values = (rows == 1).sum(1) + rng.normal(0, 0.1, 30)
    model = GaussianProcess(encoding, rows, values)
    others = [index for index in range(30) if index != 7]
    alone = GaussianProcess(encoding, rows[others], values[others]).predict(rows[7:8])[0][0]
    assert model.left_out[7] == pytest.approx(alone, abs=0.15)
    assert proven(model.left_out, values) > 0.7


def test_failures_do_not_take_up_the_scale() -> None:
    values = np.array([10.0, 88, 89, 90, 90.5, 91, 91.2])
    held = winsorised(values)
    assert held[1:].tolist() == values[1:].tolist()
    assert 85 < held[0] < 88
    assert winsorised(np.ones(5)).tolist() == [1] * 5


def test_expected_improvement_rises_with_the_mean_however_small_it_is() -> None:
    means = np.linspace(-300, 3, 1000)
    assert (np.diff(expected_improvement(means, np.ones(1000), 0.0)) > 0).all()
    assert expected_improvement(np.zeros(1), np.ones(1), 0.0)[0] == pytest.approx(math.log(1 / math.sqrt(2 * math.pi)))
