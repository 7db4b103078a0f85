"""An earlier study's best are a later one's first trials, fitted to its space."""

from __future__ import annotations

import random
from typing import Any

import optuna
import pytest
from small_search import WIDE, Fake, assert_settled, optuna_trials, small_search

from nas.candidates import ORIGIN
from nas.enqueued import enqueue_once
from nas.errors import NasError
from nas.warm_start import TAKEN, fit
from searchspace import Dimension, SearchSpace
from studies import UnknownStudy

NARROWER = SearchSpace(
    "test-narrower",
    "other widths, no kernels, a decoy",
    (
        Dimension("width", (8, 20, 36), ordered=True),
        Dimension("depth", (1, 2, 3, 4), ordered=True),
        Dimension("decoy", ("a", "b")),
    ),
    WIDE.body,
)


def first_study(storage: str, **settings: Any) -> list[str]:
    """Digests of its trials, the best first."""
    result = small_search(storage, budget=14, study="first", sampler="random", pruner="none", **settings)
    return list(result.rank()["digest"])


def test_the_best_of_an_earlier_study_are_trained_first_and_best_first(storage: str) -> None:
    best = first_study(storage)[:TAKEN]
    fake = Fake()
    small_search(storage, budget=12, study="second", warm_start="first", evaluate=fake, pruner="none")
    assert fake.digests[:TAKEN] == best
    begun = [trial for trial in optuna_trials(storage, "second") if ORIGIN in trial.user_attrs]
    assert len(begun) == TAKEN
    assert all(trial.params and "of study 'first'" in trial.user_attrs[ORIGIN] for trial in begun)
    assert_settled(storage, 12, "second")


def test_the_same_command_resumes_without_doing_it_again(storage: str) -> None:
    first_study(storage)
    for budget in (3, 6, 12):
        small_search(storage, budget=budget, study="second", warm_start="first", pruner="none")
    begun = [trial for trial in optuna_trials(storage, "second") if ORIGIN in trial.user_attrs]
    assert len(begun) == TAKEN


def test_choices_take_the_nearest_options_of_another_space(storage: str) -> None:
    fitted = fit({"width": 24, "depth": 9, "kernel": 3}, NARROWER, random.Random(0))
    assert fitted["width"] == 20
    assert fitted["depth"] == 4
    assert fitted["decoy"] in ("a", "b")
    first_study(storage)
    small_search(storage, NARROWER, budget=4, study="second", warm_start="first", pruner="none")
    assert_settled(storage, 4, "second")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"warm_start": "second"}, "cannot start from itself"),
        ({"warm_start": "first", "limit_train": 250}, "was of other images .* --force"),
    ],
)
def test_a_study_that_does_not_suit_is_refused(storage: str, settings: dict[str, Any], said: str) -> None:
    first_study(storage)
    with pytest.raises(NasError, match=said):
        small_search(storage, study="second", **settings)


def test_a_study_of_other_images_is_taken_when_forced(storage: str) -> None:
    first_study(storage)
    small_search(storage, budget=2, study="second", warm_start="first", limit_train=250, force=True)
    assert_settled(storage, 2, "second")


def test_a_study_that_is_not_there_is_named(storage: str) -> None:
    with pytest.raises(UnknownStudy, match="no study yet"):
        small_search(storage, warm_start="nowhere")


def test_a_queue_is_filled_once_and_only_before_anything_ended() -> None:
    study = optuna.create_study()
    assert enqueue_once(study, "twice", lambda: [({"x": 1.0}, {}), ({"x": 2.0}, {})]) == 2
    assert enqueue_once(study, "twice", lambda: [({"x": 3.0}, {})]) == 0
    assert [study.ask().suggest_float("x", 0, 9) for _ in range(2)] == [1.0, 2.0]
    study.tell(0, 1.0)
    assert enqueue_once(study, "late", lambda: [({"x": 3.0}, {})]) == 0
