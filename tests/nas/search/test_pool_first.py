"""A pool of untrained networks: which are chosen, how long it may take, and how a search begins with them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from small_search import TWINS, WIDE, Fake, Heard, assert_settled, optuna_study, optuna_trials, small_search

from nas import pool, pool_start
from nas.candidates import DIGEST, ORIGIN, Candidates
from nas.draws import propose
from nas.foresight.outlook import Forecast
from nas.free_scores.ranks import bins, places, rank_sum, rank_sum_in_bins
from nas.interruption import REASON
from nas.limits import Limits
from nas.ownership import this_process
from nas.pool import SCORES, Pool, choose, farthest_first, sample_pool
from nas.pool_start import COUNT, POOL, enqueue_pool
from nas.training.data import Dataset, load_dataset
from searchspace.space import Task

TASK = Task(channels=1, resolution=8, classes=10)
MACS = Limits(max_macs=100_000)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits", data_dir=Path("unused"), limit_train=200)


def test_networks_that_cannot_be_scored_are_passed_by(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search will say why, if it meets them."""
    scored, score_of = itertools.count(), pool.free_scores

    def sometimes(*given: Any, **named: Any) -> dict[str, float]:
        if next(scored) % 3 == 0:
            raise RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED")
        return score_of(*given, **named)

    monkeypatch.setattr(pool, "free_scores", sometimes)
    found = sample_pool(WIDE, TASK, Limits(), digits, seed=0, seconds=600, count=4)
    assert (found.looked_at, found.failed, len(found.chosen)) == (26, 14, 4)
    assert "26 untrained networks looked at" in found.line
    assert "14 more could not be scored" in found.line


# Ranks


def test_places_share_ties_and_put_missing_scores_last() -> None:
    scores = [{"a": 3.0}, {"a": -1.0}, {}, {"a": 3.0}]
    assert places(scores, "a").tolist() == [0.875, 0.5, 0.25, 0.875]


def test_a_rank_sum_does_not_ask_how_large_a_score_is() -> None:
    scores = [{"a": 1.0, "b": 1e9}, {"a": 2.0, "b": 0.0}, {"a": 3.0, "b": 1.0}]
    assert np.argmax(rank_sum(scores, ["a", "b"])) == 2


def test_bins_hold_equally_many_in_the_order_of_cost() -> None:
    assert bins([50, 10, 40, 20, 30, 60], 3).tolist() == [2, 0, 1, 0, 1, 2]
    assert bins([], 3).tolist() == []


def test_a_score_that_follows_size_prefers_no_size_within_bins() -> None:
    macs = list(range(40))
    scores = [{"size": float(each)} for each in macs]
    chosen = choose(scores, macs, np.zeros((40, 1)), 8, ["size"])
    assert set(bins(macs, 4)[chosen]) == {0, 1, 2, 3}
    assert min(macs[place] % 10 for place in chosen) >= 7  # the best of each bin
    assert rank_sum_in_bins(scores, macs, ["size"], 4)[9] == 1.0


# What is chosen


def test_the_farthest_come_first() -> None:
    assert farthest_first(np.array([[0.0], [1.0], [10.0], [11.0], [4.0]]), 3) == [0, 3, 4]
    assert farthest_first(np.array([[0.0], [0.0]]), 5) == [0, 1]


def test_the_best_comes_first_and_the_chosen_are_spread_over_the_best_quarter() -> None:
    scores = [{"a": float(place)} for place in range(80)]
    codes = np.array([[float(place % 2)] for place in range(80)])
    chosen = choose(scores, [1] * 80, codes, 10, ["a"])
    assert len(set(chosen)) == 10
    best = np.argsort(-rank_sum_in_bins(scores, [1] * 80, ["a"], 4), kind="stable")[:20]
    assert chosen[0] == best[0]
    assert set(chosen) <= set(best.tolist())
    assert codes[chosen[0]] != codes[chosen[1]]


def pool_of(digits: Dataset, **changes: Any) -> Pool:
    space = changes.pop("space", WIDE)
    given: dict[str, Any] = {"seed": 0, "seconds": 60.0, "count": 4}
    return sample_pool(space, TASK, changes.pop("limits", Limits()), digits, **{**given, **changes})


def test_a_pool_holds_different_choices_of_the_space_within_the_limits(digits: Dataset) -> None:
    pool = pool_of(digits, limits=MACS)
    digests = set()
    for each in pool.chosen:
        proposal = propose(WIDE, TASK, each.choices, lambda digest: False)
        assert proposal is not None
        assert proposal.cost.macs == each.macs <= 100_000
        assert each.scores.keys() == set(SCORES)
        digests.add(proposal.architecture.digest)
    assert len(digests) == len(pool.chosen) == 4
    assert 12 <= pool.looked_at < 40
    assert f"{pool.looked_at} untrained networks" in pool.line


def test_a_pool_depends_on_its_seed_alone(digits: Dataset) -> None:
    assert pool_of(digits).chosen == pool_of(digits).chosen
    assert pool_of(digits).chosen != pool_of(digits, seed=1).chosen


def test_equal_networks_are_looked_at_once_and_too_few_are_no_choice(digits: Dataset) -> None:
    pool = pool_of(digits, space=TWINS, count=2)  # 12 choices, 4 networks
    assert pool.looked_at == 4
    assert pool.chosen == ()
    assert "too few to choose from" in pool.line


def test_no_more_are_looked_at_than_asked_for(digits: Dataset) -> None:
    assert pool_of(digits, most=13).looked_at == 13


def ticking(step: float) -> Callable[[], float]:
    ticks = itertools.count(0.0, step)
    return lambda: next(ticks)


def test_scoring_ends_when_the_seconds_are_used_up(digits: Dataset) -> None:
    """The clock goes on by a second at every look at it, which is one a network."""
    pool = pool_of(digits, seconds=20.0, clock=ticking(1.0))
    assert len(pool.chosen) == 4
    assert pool.looked_at < 20
    assert pool.seconds <= 21.0


def test_looking_for_what_keeps_the_limits_takes_no_longer(digits: Dataset) -> None:
    pool = pool_of(digits, limits=Limits(max_macs=1), seconds=20.0, clock=ticking(1.0))
    assert pool.looked_at == 0
    assert pool.seconds <= 22.0


def test_it_gives_up_early_where_the_seconds_will_not_do(digits: Dataset) -> None:
    pool = pool_of(digits, seconds=10.0, clock=ticking(1.0))  # 12 are needed
    assert pool.looked_at == 5
    assert pool.chosen == ()


def test_it_stops_when_told_to(digits: Dataset) -> None:
    assert pool_of(digits, stop=lambda: True).looked_at == 0


# How a search begins with it


def forecast_of(seconds: float | None, time_limit: float | None = None) -> Callable[[], Forecast]:
    fields: dict[str, Any] = dict.fromkeys(Forecast.__dataclass_fields__)
    return lambda: Forecast(**{**fields, "seconds": seconds, "time_limit": time_limit})


def begin(study: optuna.Study, digits: Dataset, **changes: Any) -> list[str]:
    heard: list[str] = []
    space = changes.pop("space", WIDE)
    given: dict[str, Any] = {
        "forecast": forecast_of(5000.0),
        "sampler": "tpe",
        "budget": 12,
        "epochs": 1_000_000,
        "seed": 0,
        "device": digits.train.images.device,
        "say": heard.append,
    }
    enqueue_pool(study, space, TASK, Limits(), digits, **{**given, **changes})
    return heard


def waiting(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(states=(TrialState.WAITING,))


def test_a_new_study_gets_choices_with_their_scores_once(digits: Dataset) -> None:
    study = optuna.create_study()
    heard = begin(study, digits)
    assert len(waiting(study)) == 4  # a third of the budget
    assert all(SCORES[0] in trial.user_attrs and SCORES[-1] in trial.user_attrs for trial in waiting(study))
    assert "at most" in heard[0]
    assert "the first 4 trials" in heard[1]
    assert begin(study, digits) == []
    assert len(waiting(study)) == 4


def test_a_large_budget_begins_with_ten(digits: Dataset) -> None:
    study = optuna.create_study()
    begin(study, digits, budget=100)
    assert len(waiting(study)) == COUNT


@pytest.mark.parametrize(
    "changes",
    [
        {"sampler": "random"},
        {"budget": 11},
        {"epochs": 1},
        {"forecast": forecast_of(None)},
        {"forecast": forecast_of(0.5)},
        {"forecast": forecast_of(5000.0, time_limit=0.5)},
    ],
    ids=["random", "small budget", "short", "not foreseen", "no time for it", "time limit"],
)
def test_other_searches_begin_as_ever(changes: dict[str, Any], digits: Dataset) -> None:
    study = optuna.create_study()
    begin(study, digits, **changes)
    assert study.get_trials() == []


def test_a_short_search_is_not_even_foreseen(digits: Dataset) -> None:
    def forecast() -> Forecast:
        raise AssertionError

    begin(optuna.create_study(), digits, epochs=1, forecast=forecast)


def test_a_study_with_trials_gets_none(digits: Dataset) -> None:
    study = optuna.create_study()
    study.tell(study.ask(), 0.5)
    assert begin(study, digits) == []
    assert waiting(study) == []


def test_two_processes_make_one_pool(digits: Dataset) -> None:
    study = optuna.create_study()
    study.set_user_attr(POOL, "another-machine/boot/1/1")
    assert begin(study, digits) == []
    assert waiting(study) == []


def test_what_a_dead_process_began_is_made_again(digits: Dataset) -> None:
    study = optuna.create_study()
    host = this_process().rsplit("/", 2)[0]
    study.set_user_attr(POOL, f"{host}/999999999/1")
    begin(study, digits)
    assert len(waiting(study)) == 4


@pytest.mark.parametrize("enqueued", [0, 2])
def test_an_end_in_between_does_no_harm(enqueued: int, digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    study = optuna.create_study()
    whole, left = study.enqueue_trial, itertools.count(enqueued, -1)

    def enqueue(*args: Any, **settings: Any) -> None:
        if next(left) == 0:
            raise KeyboardInterrupt
        whole(*args, **settings)

    with monkeypatch.context() as patched:
        patched.setattr(study, "enqueue_trial", enqueue)
        with pytest.raises(KeyboardInterrupt):
            begin(study, digits)
    begin(study, digits)
    assert len(waiting(study)) == (enqueued or 4)


# In the search


def with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_start, "SHORT", 0)
    monkeypatch.setattr(pool_start, "SHARE", 1000.0)


def test_a_search_trains_the_pool_first_and_a_resume_does_not_make_another(
    storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_time(monkeypatch)
    heard = Heard()
    small_search(storage, evaluate=None, budget=12, epochs=1, progress=heard)
    assert any("the first 4 trials" in note for note in heard.notes)
    trials = optuna_trials(storage)
    scored = [trial.number for trial in trials if SCORES[0] in trial.user_attrs]
    assert scored == [0, 1, 2, 3]
    assert all(trials[number].state.is_finished() and "params" in trials[number].user_attrs for number in scored)
    small_search(storage, evaluate=None, budget=14, epochs=1)
    assert_settled(storage, 14)
    assert [t.number for t in optuna_trials(storage) if SCORES[0] in t.user_attrs] == [0, 1, 2, 3]


@pytest.mark.parametrize("changes", [{"evaluate": Fake()}, {"evaluate": None, "sampler": "random"}])
def test_a_fake_training_and_the_random_baseline_get_no_pool(
    changes: dict[str, Any], storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_time(monkeypatch)
    small_search(storage, budget=12, **{"epochs": 1, **changes})
    assert not any(SCORES[0] in trial.user_attrs for trial in optuna_trials(storage))
    with optuna_study(storage) as study:
        assert POOL not in study.user_attrs


# Enqueued choices among the candidates


def candidates(study: optuna.Study, limits: Limits | None = None, **changes: Any) -> Candidates:
    return Candidates(study=study, space=WIDE, task=TASK, limits=limits or Limits(), sampler="tpe", seed=0, **changes)


SMALL: dict[str, Any] = {"width": 8, "depth": 1, "kernel": 1}
LARGE: dict[str, Any] = {"width": 40, "depth": 4, "kernel": 3}


def test_an_enqueued_choice_over_a_limit_is_told_so_and_the_next_one_comes() -> None:
    study = optuna.create_study(direction="maximize")
    for choices in (LARGE, SMALL):
        study.enqueue_trial(choices, user_attrs={"synflow": 1.0})
    found = candidates(study, MACS).next(1)
    assert found is not None
    assert found.proposal.choices == SMALL
    over, trained = study.get_trials()
    assert over.state == TrialState.PRUNED
    assert over.user_attrs["reason"].startswith("over max-macs")
    assert trained.user_attrs["synflow"] == 1.0


def test_an_enqueued_choice_that_was_trained_is_not_trained_again() -> None:
    study = optuna.create_study(direction="maximize")
    for choices in (SMALL, SMALL, LARGE):
        study.enqueue_trial(choices)
    made = candidates(study)
    found = [made.next(slot) for slot in (1, 2)]
    assert [each.proposal.choices for each in found if each] == [SMALL, LARGE]
    assert [trial.user_attrs[REASON] for trial in study.get_trials(states=(TrialState.FAIL,))] == [
        "duplicate of an architecture already trained"
    ]


def test_what_a_person_named_takes_nothing_from_the_queue() -> None:
    from nas.starts import Start

    study = optuna.create_study(direction="maximize")
    study.enqueue_trial(SMALL, user_attrs={"synflow": 1.0})
    proposal = propose(WIDE, TASK, LARGE, lambda digest: False)
    assert proposal is not None
    made = candidates(study, starts=(Start("mine", proposal),))
    first, second = made.next(1), made.next(2)
    assert first is not None and second is not None  # noqa: PT018
    assert first.trial.user_attrs[ORIGIN] == "mine"
    assert "synflow" not in first.trial.user_attrs
    assert second.proposal.choices == SMALL
    assert second.trial.user_attrs[DIGEST] == second.proposal.architecture.digest


def test_of_two_that_begin_at_once_one_makes_the_pool(digits: Dataset) -> None:
    study = optuna.create_study()

    def meanwhile() -> Forecast:
        begin(study, digits)
        study.set_user_attr(POOL, "elsewhere:1:1")  # as of another process
        return forecast_of(5000.0)()

    heard = begin(study, digits, forecast=meanwhile)
    assert heard == []
    assert len(waiting(study)) == 4
