"""A network is trained shortly first, with a complete schedule, and for longer if it is among the best."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import TrialState
from small_search import TWINS, Fake, accuracy_of, assert_settled, optuna_study, optuna_trials, small_search

from nas.commands.search import front_lines, search_document
from nas.errors import NasError
from nas.objectives import Objectives
from nas.samplers import SAMPLERS
from nas.study import RUNGS
from nas.training.data import load_dataset
from nas.training.loop import train
from nas.training.recipe import Recipe, rungs_for
from nas.training.score import EpochScore
from nas.training.seeds import derive_seed
from nas.training.trial import train_architecture
from searchspace import Architecture, cost
from searchspace.space import Task
from searchspace.spaces import SPACES
from studies import StudyMismatch

EPOCHS = 9
ENDS = (3, EPOCHS)
COSTS = "val_accuracy,params"


class Steps(Fake):
    """Higher after the long schedule, and low within either, where the rate is high."""

    def __call__(self, architecture: Architecture, *, seed: int, stop: Callable[[], bool]) -> Iterator[EpochScore]:
        for score in super().__call__(architecture, seed=seed, stop=stop):
            share = {3: 0.8, 9: 1.0}.get(score.epoch, 0.1)
            yield EpochScore(**{**vars(score), "val_accuracy": share * self.accuracy(architecture)})


def by_size(architecture: Architecture) -> float:
    return min(0.9, cost(architecture).params / 20_000)


def searched(storage: str, budget: int = 12, **settings: Any) -> Any:
    given = {"epochs": EPOCHS, "evaluate": Steps(epochs=ENDS[-1]), "sampler": "random", "pruner": "rungs"}
    return small_search(storage, budget=budget, **{**given, **settings})


def test_the_rungs_of_some_epochs() -> None:
    assert [rungs_for(epochs) for epochs in (1, 5, 6, 10, 40, 100)] == [(), (), (2,), (3,), (4, 13), (3, 11, 33)]
    assert Recipe(epochs=40, rungs=(4, 13)).schedules == (4, 9, 27)
    assert Recipe(epochs=10).schedules == (10,)


@pytest.mark.parametrize("rungs", [(10,), (4, 4), (5, 3), (0,)])
def test_rungs_that_do_not_grow_are_refused(rungs: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="rungs"):
        Recipe(epochs=10, rungs=rungs)


def test_a_recipe_with_rungs_returns_from_json() -> None:
    recipe = Recipe(epochs=10, rungs=(3,))
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert Recipe(**{**recipe.model_dump(), "rungs": [3]}) == recipe


def test_a_network_goes_on_from_its_weights_with_a_schedule_of_its_own() -> None:
    torch.set_num_threads(1)
    data = load_dataset("digits", limit_train=300)
    architecture = SPACES["tiny"].decode(first_choices(), Task(channels=1, resolution=8))
    short = list(train_architecture(architecture, data, Recipe(epochs=2), seed=5))
    both = list(train_architecture(architecture, data, Recipe(epochs=5, rungs=(2,)), seed=5))
    assert [score.epoch for score in both] == [1, 2, 3, 4, 5]
    assert [score.train_loss for score in both[:2]] == [score.train_loss for score in short]
    network = short[-1].network
    assert network is not None
    again = derive_seed(5, "rung", 1)
    rest = list(train(network, data, Recipe(epochs=3), seed=again, resolution=8))
    assert [score.train_loss for score in both[2:]] == [score.train_loss for score in rest]


def first_choices() -> dict[str, Any]:
    class First:
        def suggest_categorical(self, name: str, choices: Any, /) -> Any:
            return choices[0]

        def suggest_int(self, name: str, low: int, high: int, /, *, step: int = 1) -> int:
            return low

        def suggest_float(self, name: str, low: float, high: float, /, *, step: float | None = None) -> float:
            return low

    return SPACES["tiny"].choose(First())


def test_rung_scores_are_the_intermediate_values_and_a_third_goes_on(storage: str) -> None:
    result = searched(storage)
    assert_settled(storage, 12)
    trials = [trial for trial in optuna_trials(storage) if trial.params]
    passed: list[float] = []
    for trial in (trial for trial in trials if trial.intermediate_values):
        early = trial.intermediate_values[ENDS[0]]
        passed.append(early)
        among_the_best = sorted(passed, reverse=True).index(early) < max(1, len(passed) // 3)
        assert set(trial.intermediate_values) == ({*ENDS} if among_the_best else {ENDS[0]})
        assert trial.state == (TrialState.COMPLETE if among_the_best else TrialState.PRUNED)
    assert len(passed) == 12
    frame = result.dataframe()
    assert set(frame["epochs"]) == {*ENDS}
    assert len(result.store.curve(result.best.evaluation.id)) == ENDS[-1], "the store keeps every epoch"


def test_the_same_command_resumes_and_a_pruner_without_rungs_is_another_study(storage: str) -> None:
    searched(storage, budget=4)
    assert searched(storage, budget=6).store.slot_counts(searched(storage, budget=6).study.id)["DONE"] == 6
    with pytest.raises(StudyMismatch, match="or --pruner rungs, as the study was made with"):
        searched(storage, budget=7, pruner="median")
    searched(storage, budget=2, study="other", pruner="median")
    with pytest.raises(StudyMismatch, match="or another --pruner than rungs, such as asha"):
        searched(storage, budget=3, study="other")
    with pytest.raises(StudyMismatch, match="or the same settings"):
        searched(storage, budget=3, study="other", seed=1)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_several_objectives_give_a_front_and_prune(storage: str, sampler: str) -> None:
    result = searched(storage, budget=25, objective=COSTS, sampler=sampler)
    assert_settled_values(storage)
    with optuna_study(storage) as study:
        assert study.metric_names == ["val_accuracy", "params"]
        front = {tuple(trial.values) for trial in study.best_trials}
    frame = result.pareto_front("params")
    assert front == {(row.val_accuracy, float(row.params)) for row in frame.itertuples()}
    statuses = set(result.dataframe()["status"])
    assert statuses == {"COMPLETE", "PRUNED"}, "some are pruned, with several objectives too"


def test_a_search_says_where_the_front_begins_and_ends(storage: str) -> None:
    result = searched(storage, budget=20, objective=COSTS, evaluate=Steps(epochs=ENDS[-1], accuracy=by_size))
    (line,) = front_lines(result)
    front = result.pareto_front("params")
    assert line.startswith(f"front of accuracy and params: {len(front)} networks, from ")
    assert f"(trial {front.iloc[0]['trial']})" in line
    assert f"{front.iloc[-1]['val_accuracy']:.2%}" in line
    assert search_document(result)["fronts"] == {"params": list(front["trial"])}
    assert not list(front_lines(searched(storage, budget=3, study="plain")))


def assert_settled_values(storage: str) -> None:
    for trial in optuna_trials(storage):
        if trial.state == TrialState.COMPLETE:
            assert trial.values == [trial.user_attrs[RUNGS][str(ENDS[1])], float(trial.user_attrs["params"])]
        assert not trial.intermediate_values, "a pruned one with them breaks Optuna's TPE"


def test_small_networks_survive_beside_accurate_ones(storage: str) -> None:
    """By accuracy alone the smallest network, the worst of all, would never go on."""
    fake = Steps(epochs=ENDS[-1], accuracy=by_size)
    result = searched(storage, budget=30, objective=COSTS, evaluate=fake)
    frame = result.dataframe()
    small = frame["params"] < frame["params"].median()
    assert (frame[small & (frame["trial"] > 10)]["status"] == "COMPLETE").any()
    assert (frame[~small & (frame["trial"] > 10)]["status"] == "COMPLETE").any()


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        ("accuracy", "no objective named 'accuracy': did you mean 'val_accuracy'?"),
        ("val_accuracy,macs,macs", "the objective macs is given more than once"),
        ("macs", "add val_accuracy"),
        ("", "no objective named ''"),
    ],
)
def test_objectives_that_cannot_be_are_refused(storage: str, objective: str, said: str) -> None:
    with pytest.raises(NasError, match=said.replace("?", r"\?")):
        searched(storage, objective=objective)


def test_a_pruner_of_one_value_is_refused_for_several(storage: str) -> None:
    with pytest.raises(NasError, match="take rungs or none"):
        searched(storage, objective=COSTS, pruner="median")


def test_objectives_keep_the_accuracy_first() -> None:
    parsed = Objectives.parse("macs, val_accuracy,params")
    assert str(parsed) == "val_accuracy,macs,params"
    assert parsed.values(0.5, {"macs": 7, "params": 3}) == [0.5, 7.0, 3.0]
    assert parsed.directions == ["maximize", "minimize", "minimize"]


def test_one_network_twice_named_is_trained_once(storage: str) -> None:
    searched(storage, space=TWINS, budget=4, objective=COSTS)
    trained = [trial for trial in optuna_trials(storage) if trial.user_attrs.get(RUNGS)]
    assert len({trial.user_attrs["digest"] for trial in trained}) == 4
    assert optuna.trial.TrialState.RUNNING not in {trial.state for trial in trained}
    assert accuracy_of(SPACES["test-twins"].decode({"width": 8, "decoy": "a"}, Task(1, 8, 10))) > 0
