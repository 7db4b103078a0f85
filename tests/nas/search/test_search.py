"""What a search promises when nothing goes wrong: the budget, what is counted, what is trained, what is refused."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import TrialState
from small_search import (
    NETWORKS_OF_TWINS,
    TWINS,
    WIDE,
    Fake,
    Heard,
    assert_settled,
    optuna_trials,
    score,
    small_search,
)

import nas
from nas.asked import Asked
from nas.errors import NasError, RunError
from nas.evaluate import OneLane
from nas.pruners import PRUNERS
from nas.samplers import SAMPLERS
from nas.training.data import Dataset
from nas.training.score import EpochScore
from searchspace import Architecture, SpaceError, cost
from studies import COMPLETE, FAIL, PRUNED, StudyMismatch, StudyStore

REFUSED = ("duplicate", "over ")


def statuses(result: Any) -> Counter[str]:
    return Counter(result.dataframe()["status"])


# The budget


def test_a_budget_of_n_trains_n_networks_and_records_each(storage: str) -> None:
    fake, heard = Fake(), Heard()
    result = small_search(storage, budget=7, evaluate=fake, progress=heard)
    assert result.ended == "the budget of 7 trials is spent"
    assert len(set(fake.digests)) == 7
    assert [end[0] for end in heard.ends] == list(result.dataframe()["trial"])
    assert_settled(storage, 7)
    assert set(statuses(result)) <= {COMPLETE, PRUNED}


def test_the_check_of_the_budget_sees_a_missing_training(storage: str) -> None:
    small_search(storage, budget=3)
    with pytest.raises(AssertionError):
        assert_settled(storage, 4)
    with StudyStore(storage) as store:
        row = store.study("s")
        store.ensure_slots(row.id, 4)
        slot = store.claim_slot(row.id, "nobody", 4)
        assert slot is not None
        store.close_slot(slot)
    with pytest.raises(AssertionError):
        assert_settled(storage, 4)


def test_the_same_budget_again_trains_nothing_and_a_larger_one_goes_on(storage: str) -> None:
    first = small_search(storage, budget=4)
    again = Fake()
    assert small_search(storage, budget=4, evaluate=again).ended == "the budget of 4 trials is spent"
    assert small_search(storage, budget=2, evaluate=again).ended == "the budget of 2 trials is spent"
    assert again.trained == []
    more = Fake()
    result = small_search(storage, budget=6, evaluate=more)
    assert len(more.trained) == 2
    assert list(first.dataframe()["trial"]) == list(result.dataframe()["trial"])
    assert_settled(storage, 6)


def test_what_is_told_counts_the_trials_of_every_process(storage: str) -> None:
    class Beside(Heard):
        def trial(self, number: int, architecture: Architecture, cost: Any, epochs: int) -> None:
            """Another process ends a trial during this one's first."""
            if number == 0:
                with StudyStore(storage) as store:
                    slot = store.claim_slot(store.study().id, "another process", 4)
                    assert slot is not None
                    store.close_slot(slot)

    heard = Beside()
    small_search(storage, budget=4, progress=heard, evaluate=Fake(accuracy=lambda architecture: 0.5))
    assert [status for _, status, _ in heard.ends] == ["COMPLETE"] * 3
    assert heard.standings == [(2, 0.5), (3, 0.5), (4, 0.5)]


def test_failed_and_pruned_trials_count_and_failed_ones_are_never_best(storage: str) -> None:
    def accuracy(architecture: Architecture) -> float:
        place = len(fake.trained)
        if place % 3 == 0:
            raise ValueError("a block broke\nin two lines")
        return {1: 0.9, 2: 0.2}[place % 3]

    fake = Fake(accuracy=accuracy)
    result = small_search(storage, budget=9, evaluate=fake)
    assert statuses(result) == {COMPLETE: 3, PRUNED: 3, FAIL: 3}
    assert result.best.status == COMPLETE
    failed = result.dataframe().query("status == 'FAIL'")
    assert set(failed["reason"]) == {"ValueError: a block broke"}
    assert failed["val_accuracy"].isna().all()
    assert_settled(storage, 9)


@pytest.mark.parametrize("budget", [0, -1, True, 2.5, "3"])
def test_a_budget_is_a_whole_number_of_at_least_1(storage: str, budget: Any) -> None:
    with pytest.raises(NasError, match="budget is a whole number of at least 1"):
        small_search(storage, budget=budget)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": "3"}, "epochs is a whole number of at least 1, given '3'"),
        ({"seed": -1}, "seed is a whole number of at least 0, given -1"),
        ({"seed": "a"}, "seed is a whole number"),
        ({"limit_train": "200"}, "limit_train is a whole number, given '200'"),
        ({"resolution": 16.0}, "resolution is a whole number, given 16.0"),
        ({"objective": ["val_accuracy", "macs"]}, "objective is a text"),
        ({"study": 5}, "study is a text, given 5"),
        ({"device": torch.device("meta")}, "device 'meta' is not known"),
    ],
)
def test_settings_of_a_wrong_kind_are_refused_and_leave_nothing(
    settings: dict[str, Any], message: str, storage: str
) -> None:
    with pytest.raises(NasError, match=message):
        small_search(storage, **settings)
    with StudyStore(storage) as store:
        assert store.studies().empty


def test_names_may_be_paths_and_devices_torchs(storage: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"dataset": Path("digits"), "device": torch.device("cpu"), "data_dir": tmp_path}
    result = nas.search(space="tiny", budget=1, epochs=1, storage=storage, evaluate=Fake(epochs=1), **settings)
    assert result.ended


def test_a_huge_budget_costs_nothing_before_it_is_used(storage: str) -> None:
    result = small_search(storage, TWINS, budget=10_000_000)
    with StudyStore(storage) as store:
        assert sum(store.slot_counts(result.study.id).values()) <= 1000


# What is trained


def test_networks_with_two_names_are_trained_once_and_the_space_ends_plainly(storage: str) -> None:
    fake = Fake()
    result = small_search(storage, TWINS, budget=50, evaluate=fake)
    assert len(fake.trained) == len(set(fake.digests)) == NETWORKS_OF_TWINS
    assert result.ended == "nothing new is left: space 'test-twins' has no other architecture that can be found"
    assert_settled(storage, NETWORKS_OF_TWINS)
    duplicates = [t for t in optuna_trials(storage) if t.user_attrs.get("reason", "").startswith("duplicate")]
    assert duplicates
    assert {trial.state for trial in duplicates} == {TrialState.FAIL}
    assert len(duplicates) < 40


def test_a_small_space_is_trained_to_its_last_network(storage: str) -> None:
    fake = Fake(epochs=1)
    result = small_search(storage, WIDE, budget=100, epochs=1, evaluate=fake, sampler="random")
    assert len(set(fake.digests)) == WIDE.size == 40
    assert result.ended.startswith("nothing new is left")


@pytest.mark.parametrize(
    "limits", [{"max_params": "2k"}, {"max_macs": 100_000}, {"max_params": 3000, "max_macs": "1M"}]
)
def test_over_a_limit_nothing_is_trained_and_the_budget_is_still_spent(storage: str, limits: dict[str, Any]) -> None:
    fake = Fake()
    small_search(storage, budget=4, evaluate=fake, seed=3, **limits)
    most = {name: {"2k": 2000, "1M": 10**6}.get(limit, limit) for name, limit in limits.items()}
    for architecture in fake.trained:
        counted = cost(architecture)
        assert counted.params <= most.get("max_params", counted.params)
        assert counted.macs <= most.get("max_macs", counted.macs)
    assert_settled(storage, 4)
    over = [trial for trial in optuna_trials(storage) if trial.user_attrs.get("feasible") is False]
    assert over, "the limits are tight: some suggestion must have been over them"
    for trial in over:
        assert trial.state == TrialState.PRUNED
        assert max(trial.constraints.values()) > 0
        assert trial.intermediate_values == {}


def test_the_best_trial_of_optuna_is_ours_and_feasible(storage: str) -> None:
    result = small_search(storage, budget=6, max_params="5k")
    [name] = optuna.get_all_study_names(storage)
    best = optuna.load_study(study_name=name, storage=storage).best_trial
    assert best.number == result.best.number
    assert max(best.constraints.values()) <= 0
    assert best.user_attrs["params"] == result.best.cost.params <= 5000
    assert best.user_attrs["val_accuracy"] == best.value == result.best.val_accuracy


def test_how_a_trial_was_computed_is_written_where_the_dashboard_shows_it(storage: str) -> None:
    small_search(storage, budget=1, epochs=1, evaluate=None)
    (trial,) = optuna_trials(storage)
    assert re.fullmatch(r"(bfloat16|float32), (channels_last|contiguous).*", trial.user_attrs["execution"])


def test_impossible_limits_are_refused_before_anything_is_recorded(storage: str) -> None:
    with pytest.raises(NasError) as refused:
        small_search(storage, max_params=100)
    smallest = min(
        cost(WIDE.decode({"width": width, "depth": 1, "kernel": 1})).params for width in (8, 16)
    )  # of RGB images of the same classes; digits are grey
    text = str(refused.value)
    assert "no architecture of space 'test-wide' keeps max-params 100: the smallest found has" in text
    assert f"{smallest - 2 * 8} params" in text
    with StudyStore(storage) as store:
        assert len(store.studies()) == 0
    assert optuna.get_all_study_names(storage) == []


def test_each_slot_has_a_seed_of_its_own_that_another_run_repeats(storage: str) -> None:
    one, same, other = Fake(), Fake(), Fake()
    small_search(storage, study="one", evaluate=one)
    small_search(storage, study="same", evaluate=same)
    small_search(storage, study="other", evaluate=other, seed=1)
    assert len(set(one.seeds)) == 5
    assert (one.digests, one.seeds) == (same.digests, same.seeds)
    assert set(one.seeds).isdisjoint(other.seeds)
    assert one.digests != other.digests


def test_the_search_never_reads_the_test_split(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from nas.training.datasets import digits

    def poisoned(*_: Any, test: bool) -> Any:
        if test:
            raise AssertionError("the test split was read")
        return read(test=False)

    read = digits._read
    monkeypatch.setattr(digits, "_read", poisoned)
    monkeypatch.setattr(Dataset, "read_test", lambda self: poisoned(test=True))
    small_search(storage, budget=2, space=WIDE, evaluate=None, epochs=1)
    with pytest.raises(AssertionError, match="the test split was read"):
        read_digits_test()


def read_digits_test() -> None:
    from nas.training.data import load_dataset

    data = load_dataset("digits")
    assert data.test_reader is not None
    data.test_reader()


def test_train_reads_the_test_split(monkeypatch: pytest.MonkeyPatch) -> None:
    from nas.single import train

    reads: list[Any] = []
    real = Dataset.read_test
    monkeypatch.setattr(Dataset, "read_test", lambda self: reads.append(1) or real(self))
    architecture = WIDE.decode({"width": 8, "depth": 1, "kernel": 3})
    text = architecture.changed(channels=1, resolution=8, classes=10).to_json()
    with open("a.json", "w", encoding="utf-8") as file:
        file.write(text)
    train("a.json", dataset="digits", epochs=1, device="cpu")
    assert len(reads) == 1


# Samplers and pruners


@pytest.mark.parametrize("sampler", list(SAMPLERS))
@pytest.mark.parametrize("limit", [None, "6k"])
def test_every_sampler_searches(storage: str, sampler: str, limit: str | None) -> None:
    small_search(storage, budget=12, sampler=sampler, max_params=limit)
    assert_settled(storage, 12)


@pytest.mark.parametrize("pruner", list(PRUNERS))
def test_every_pruner_searches(storage: str, pruner: str) -> None:
    result = small_search(storage, budget=12, pruner=pruner, epochs=9, evaluate=Fake(epochs=9))
    assert_settled(storage, 12)
    assert (PRUNED in set(result.dataframe()["status"])) == (pruner != "none")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sampler": "tpee"}, "no sampler named 'tpee': did you mean 'tpe'? known are tpe, random, nsga2, gp, evol"),
        ({"pruner": "no"}, "no pruner named 'no': "),
        ({"device": "tpu"}, "device 'tpu' is not known"),
        ({"max_params": "many"}, "'many' is not a count"),
        ({"time_limit": "soon"}, "'soon' is not a duration"),
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 1}, "batch_size"),
    ],
)
def test_unknown_settings_are_refused_before_there_is_a_database(
    storage: str, fast_folder: Any, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(NasError) as refused:
        small_search(storage, **settings)
    assert words in str(refused.value)
    assert list(fast_folder.iterdir()) == []


def test_an_unknown_space_is_refused(storage: str) -> None:
    from nas.searching import search

    with pytest.raises(SpaceError, match="did you mean 'tiny'"):
        search("digits", space="tinyy", storage=storage)


# Failures


def test_ten_failures_in_a_row_end_the_search_with_the_last_reason(storage: str) -> None:
    def broken(architecture: Architecture) -> float:
        raise ArithmeticError(f"number {len(fake.trained)}")

    fake = Fake(accuracy=broken)
    with pytest.raises(RunError, match="10 trials in a row failed, the last one with: ArithmeticError: number 10"):
        small_search(storage, budget=20, evaluate=fake)
    assert_settled(storage, 10)


def test_an_error_at_the_first_call_is_a_failed_trial_too(storage: str) -> None:
    def broken(architecture: Architecture, **_: Any) -> Iterator[EpochScore]:
        if len(called) == 2:
            called.append(architecture)
            raise ArithmeticError("no generator")
        called.append(architecture)
        return Fake()(architecture, **_)

    called: list[Architecture] = []
    result = small_search(storage, budget=4, evaluate=broken)
    assert statuses(result)[FAIL] == 1
    assert_settled(storage, 4)


class TwoLanes(OneLane):
    """Two trainings that take turns, each of which fails in its second."""

    count, device = 2, "nowhere"

    def evaluate(self, architecture: Architecture, **_: Any) -> Iterator[EpochScore | None]:
        yield None
        raise ArithmeticError

    def close(self) -> None: ...


def test_a_trial_that_had_just_begun_then_gives_its_slot_back(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.searching.open_lanes", lambda *_: TwoLanes())
    with pytest.raises(RunError, match="10 trials in a row failed"):
        small_search(storage, budget=20)
    assert_settled(storage, 10)


def test_nine_failures_and_a_success_do_not(storage: str) -> None:
    def broken(architecture: Architecture) -> float:
        if len(fake.trained) % 10:
            raise ArithmeticError
        return 0.5

    fake = Fake(accuracy=broken)
    result = small_search(storage, budget=20, evaluate=fake)
    assert statuses(result)[FAIL] == 18
    assert_settled(storage, 20)


@pytest.mark.parametrize("accuracy", [float("nan"), float("inf")])
def test_an_accuracy_that_is_no_number_fails_its_trial(storage: str, accuracy: float) -> None:
    fake = Fake(accuracy=lambda architecture: accuracy if len(fake.trained) == 2 else 0.4)
    result = small_search(storage, budget=3, evaluate=fake, pruner="none")
    assert list(result.dataframe()["status"]) == [COMPLETE, FAIL, COMPLETE]
    assert_settled(storage, 3)


def test_a_training_without_a_score_fails(storage: str) -> None:
    result = small_search(storage, budget=1, evaluate=lambda architecture, *, seed, stop: iter(()))
    assert result.dataframe()["reason"][0] == "the training yielded no score"
    with pytest.raises(NasError, match="has no trial with a score yet"):
        _ = result.best


def test_a_training_that_begins_again_is_recorded_once(storage: str) -> None:
    def again(architecture: Architecture, *, seed: int, stop: Any) -> Any:
        yield score(1, 0.9, batch_size=128)
        yield score(2, 0.9, batch_size=128)
        for epoch in (1, 2, 3):
            yield score(epoch, 0.3, batch_size=64)

    result = small_search(storage, budget=1, evaluate=again)
    evaluation = result.best.evaluation
    assert (evaluation.val_accuracy, evaluation.epochs, evaluation.batch_size) == (0.3, 3, 64)
    assert list(result.store.curve(evaluation.id)["val_accuracy"]) == [0.3, 0.3, 0.3]


def test_a_mistake_in_a_space_leaves_nothing_running(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.draws.cost", lambda architecture: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        small_search(storage)
    assert_settled(storage, 0)


# Resuming with something else


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"space": TWINS}, "space='test-wide', "),
    ({"epochs": 4}, "epochs=3, now epochs=4"),
    ({"batch_size": 64}, "recipe.batch_size=128, now recipe.batch_size=64"),
    ({"limit_train": 150}, "limit_train=200"),
    ({"seed": 1}, "seed=0"),
    ({"resolution": 12}, "resolution=8"),
]


@pytest.mark.parametrize(("change", "words"), CHANGES)
def test_another_setting_is_refused_by_its_name_and_changes_nothing(
    storage: str, change: dict[str, Any], words: str
) -> None:
    small_search(storage, budget=2)
    before = [(trial.number, trial.state) for trial in optuna_trials(storage)]
    with pytest.raises(StudyMismatch) as refused:
        small_search(storage, budget=4, **change)
    assert words in str(refused.value)
    assert before == [(trial.number, trial.state) for trial in optuna_trials(storage)]
    assert_settled(storage, 2)


def test_other_data_are_refused(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from nas.training.datasets import digits

    small_search(storage, budget=2)
    real = digits.np.rint
    monkeypatch.setattr(digits.np, "rint", lambda values: real(values) // 2)
    with pytest.raises(StudyMismatch, match="data_fingerprint="):
        small_search(storage, budget=4)


def test_limits_sampler_and_pruner_may_change(storage: str) -> None:
    small_search(storage, budget=3)
    small_search(storage, budget=6, max_params="6k", sampler="random", pruner="median")
    assert_settled(storage, 6)


def test_a_search_and_its_forecast_take_the_same() -> None:
    """`Asked` is the one list; both name it in full, with equal defaults, for whoever reads `help(nas.search)`."""
    asked = [field.name for field in fields(Asked)]
    searches, forecasts = (inspect.signature(each).parameters for each in (nas.search, nas.forecast))
    assert list(forecasts) == asked
    assert [name for name in searches if name not in ("progress", "evaluate")] == asked
    assert {name: searches[name].default for name in asked} == {name: forecasts[name].default for name in asked}
