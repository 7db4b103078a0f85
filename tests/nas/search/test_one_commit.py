"""A trial's choices arrive in Optuna's tables in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
import pytest
from small_search import WIDE, Fake, optuna_trials, small_search
from sqlalchemy import Engine, event

from nas.one_commit import one_commit
from nas.study import optuna_storage
from studies import StudyStore


@contextmanager
def commits() -> Iterator[list[Any]]:
    seen: list[Any] = []

    def count(connection: Any) -> None:
        seen.append(connection)

    event.listen(Engine, "commit", count)
    try:
        yield seen
    finally:
        event.remove(Engine, "commit", count)


def asked(storage: str) -> optuna.Trial:
    with StudyStore(storage) as store:
        return optuna.create_study(storage=optuna_storage(store), study_name="x").ask()


def test_choices_arrive_in_one_commit(storage: str) -> None:
    trial = asked(storage)
    with commits() as seen, one_commit(trial.storage):
        choices = WIDE.choose(trial)
        before = len(seen)
    assert (before, len(seen)) == (0, 1)
    (stored,) = optuna_trials_of(storage)
    assert stored.params == choices


def optuna_trials_of(storage: str) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(storage=storage, study_name="x").get_trials()


def test_an_error_inside_leaves_nothing_half_written(storage: str) -> None:
    trial = asked(storage)

    def interrupted() -> None:
        with one_commit(trial.storage):
            trial.suggest_int("width", 1, 3)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    (stored,) = optuna_trials_of(storage)
    assert stored.params == {}
    trial.set_user_attr("later", 1)  # the storage works on, one commit a write
    assert optuna_trials_of(storage)[0].user_attrs == {"later": 1}


def test_other_storages_are_left_alone() -> None:
    trial = optuna.create_study().ask()
    with one_commit(trial.storage):
        WIDE.choose(trial)
    assert len(trial.params) == 3


def test_the_commits_of_a_trial_do_not_grow_with_its_choices_nor_with_the_study(storage: str) -> None:
    counts = []
    for budget in (2, 4, 6, 8):
        with commits() as seen:
            small_search(storage, budget=budget, epochs=1, evaluate=Fake(epochs=1), sampler="random", pruner="none")
        counts.append(len(seen))
    assert len(set(counts[1:])) == 1 or max(counts[1:]) - min(counts[1:]) <= 12  # a duplicate's refusal
    assert len(optuna_trials(storage)) >= 8
