"""Every limit that a person has is kept before training, alike in searching, forecasting and scaling."""

from __future__ import annotations

import inspect
import random
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import FrozenTrial, TrialState
from small_search import WIDE, Fake, assert_settled, optuna_trials, small_search

import nas
from nas import plan
from nas.admission import PATIENCE
from nas.candidates import Candidates
from nas.cli import scale, search
from nas.commands.rank import rank
from nas.draws import every
from nas.errors import NasError
from nas.limits import LIMITS, Limits
from nas.meter import Stopwatch
from nas.study_limits import show_limits, study_limits
from nas.training.footprint import training_bytes
from searchspace import Architecture, Cost, Dimension, SearchSpace, Stage, Task, cost
from searchspace.blocks import Conv
from studies import StudyStore, all_trials, database_exists

TASK = Task(channels=1, resolution=8, classes=10)
COSTS = [cost(WIDE.decode(choices, TASK)) for choices in every(WIDE)]


def milliseconds(architecture: Architecture) -> float:
    return cost(architecture).activations / 1000


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Architecture]:
    """A clock that goes by activations; what it measured, in its order."""
    found: list[Architecture] = []

    def latency_on(device: torch.device) -> Any:
        def latency(architecture: Architecture) -> float:
            found.append(architecture)
            return milliseconds(architecture)

        return latency

    monkeypatch.setattr("nas.plan.latency_on", latency_on)
    return found


def refused(storage: str, name: str) -> list[FrozenTrial]:
    """Trials that were over the limit of this name."""
    return [trial for trial in optuna_trials(storage) if trial.constraints.get(name, 0) > 0]


# One record


def test_searching_forecasting_and_scaling_have_the_same_limits_on_the_command_line_and_in_python() -> None:
    assert LIMITS == ("max_params", "max_macs", "max_activations", "max_memory", "max_latency")
    for command in (search, scale):
        assert [option.name for option in command.params if (option.name or "").startswith("max_")] == list(LIMITS)
    for function in (nas.search, nas.forecast, nas.scale):
        assert [name for name in inspect.signature(function).parameters if name.startswith("max_")] == list(LIMITS)


def test_limits_are_read_as_people_write_them() -> None:
    read = Limits.read({"max_params": "500k", "max_memory": "8G", "max_latency": "2s"}, batch_size=7, optimizer="adam")
    assert read == Limits(max_params=500_000, max_memory=8 * 10**9, max_latency=2000.0, batch_size=7, optimizer="adam")
    assert str(read) == "max-params 500k and max-memory 8G and max-latency 2e+03ms"
    assert not Limits.read(dict.fromkeys(LIMITS))


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("text", ["0", "-1", "soon", "", "nan", "1e9", 0, -5, float("inf")])
def test_what_is_no_amount_is_refused_and_the_limit_named(name: str, text: Any) -> None:
    with pytest.raises(NasError, match=f"^{name.replace('_', '-')}: .* is not a (count|latency): write"):
        Limits.read({name: text})


@pytest.mark.parametrize("limit", [0, -1, float("nan"), float("inf")])
def test_a_limit_made_in_python_is_above_zero(limit: Any) -> None:
    with pytest.raises(NasError, match="max-macs must be a number above 0"):
        Limits(max_macs=limit)


def test_memory_is_that_of_the_search_s_own_training() -> None:
    limits = Limits(max_memory=1, batch_size=32, optimizer="adam")
    counted = Cost(10, 20, 30)
    assert limits.amounts(counted)["memory"] == training_bytes(counted, 32, optimizer="adam")


# Kept in a search


@pytest.mark.parametrize("name", ["params", "macs", "activations", "memory"])
def test_what_is_over_a_counted_limit_is_not_trained_and_not_counted(storage: str, name: str) -> None:
    def amount(counted: Cost) -> int:
        return Limits(batch_size=32).amounts(counted)[name]

    most = int(statistics.median(map(amount, COSTS)))
    fake = Fake()
    given: dict[str, Any] = {f"max_{name}": most, "batch_size": 32}
    small_search(storage, evaluate=fake, budget=8, sampler="random", **given)
    assert_settled(storage, 8)
    assert max(amount(cost(architecture)) for architecture in fake.trained) <= most
    over = refused(storage, name)
    assert over
    assert {trial.state for trial in over} == {TrialState.PRUNED}
    assert {trial.user_attrs["feasible"] for trial in over} == {False}


def test_latency_is_measured_once_of_what_keeps_the_counted_limits(storage: str, measured: list[Architecture]) -> None:
    macs = sorted(counted.macs for counted in COSTS)[30]
    quick = statistics.median(counted.activations / 1000 for counted in COSTS if counted.macs <= macs)
    fake = Fake()
    small_search(storage, evaluate=fake, budget=8, sampler="random", max_macs=macs, max_latency=f"{quick}ms")
    assert_settled(storage, 8)
    assert max(map(milliseconds, fake.trained)) <= quick
    assert refused(storage, "latency")
    assert {trial.state for trial in refused(storage, "latency")} == {TrialState.PRUNED}
    digests = [architecture.digest for architecture in measured]
    assert len(digests) == len(set(digests))
    assert max(cost(architecture).macs for architecture in measured) <= macs
    assert refused(storage, "macs"), "the test needs one that is over the counted limit"


def test_the_study_tells_what_limits_it_was_held_to(storage: str, measured: list[Architecture]) -> None:
    """All of them, as `nas rank --pareto` and `nas explain` say."""
    given = {"macs": 10**7, "memory": 10**9, "latency": 2.5}
    small_search(storage, budget=2, **{f"max_{name}": limit for name, limit in given.items()})
    with StudyStore(storage) as store:
        found = study_limits(store, store.study("s"))
    assert found == pytest.approx(given)
    assert sorted(show_limits(found).split(" and ")) == ["max-latency 2.5ms", "max-macs 10M", "max-memory 1G"]


def test_a_measured_latency_stands_in_both_homes(
    storage: str, measured: list[Architecture], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    result = small_search(storage, budget=3, max_latency="1s")
    for trial in optuna_trials(storage):
        if "nas_evaluation" in trial.user_attrs:
            expected = milliseconds(result.trial(trial.number).architecture)
            assert trial.user_attrs["latency_ms"] == result.trial(trial.number).evaluation.latency_ms == expected
    front = result.pareto_front("latency_ms")
    assert front["latency_ms"].is_monotonic_increasing
    assert len(front)
    rank(storage, None, 10, None, None, None, False)
    rank(storage, None, 10, "latency_ms", None, None, False)
    assert capsys.readouterr().out.count("latency_ms") == 2
    rank(storage, None, 10, "latency_ms", None, str(tmp_path / "front.svg"), False)
    picture = (tmp_path / "front.svg").read_text()
    assert "latency (ms) for one image" in picture
    assert "max-latency 1e+03ms" in picture


def test_without_a_limit_nothing_is_measured_or_shown(
    storage: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("nas.plan.latency_on", None)
    small_search(storage, budget=1, max_macs="1G")
    assert not any("latency_ms" in trial.user_attrs for trial in optuna_trials(storage))
    rank(storage, None, 10, None, None, None, False)
    assert "latency" not in capsys.readouterr().out
    rank(storage, None, 10, "latency_ms", None, None, False)
    assert capsys.readouterr().out.startswith("no trial has a measured latency: search with --max-latency")
    with pytest.raises(NasError, match="no trial has a measured latency"):
        rank(storage, None, 10, "latency_ms", None, "front.svg", False)


def test_a_search_that_goes_on_measures_nothing_twice(
    storage: str, measured: list[Architecture], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.candidates.Candidates.require_feasible", lambda self: None)
    quick = statistics.median(counted.activations / 1000 for counted in COSTS)
    small_search(storage, budget=4, sampler="random", max_latency=quick)
    before = {architecture.digest for architecture in measured}
    measured.clear()
    small_search(storage, budget=8, sampler="random", max_latency=quick)
    assert measured
    assert not before & {architecture.digest for architecture in measured}


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"max_latency": "0.001ms"}, "keeps max-latency 0.001ms: the smallest found has .* 0.5.*ms of latency"),
        ({"max_macs": "1M", "max_activations": "5"}, "max-macs 1M and max-activations 5: .* activations"),
        ({"max_memory": "1k"}, "keeps max-memory 1k: .* bytes of memory"),
    ],
)
def test_impossible_limits_are_refused_before_anything_is_recorded(
    storage: str, measured: list[Architecture], limits: dict[str, Any], words: str
) -> None:
    with pytest.raises(NasError, match=words):
        small_search(storage, **limits)
    with StudyStore(storage) as store:
        assert store.studies().empty


def test_a_start_that_is_too_slow_is_refused_by_its_name(storage: str, measured: list[Architecture]) -> None:
    slow = WIDE.decode({"width": 40, "depth": 4, "kernel": 3}, TASK).changed(name="slow")
    with pytest.raises(NasError, match=r"cannot start from 'slow': .*ms of latency, over max-latency 1ms"):
        small_search(storage, start_from=[slow], max_latency=1.0)


def test_a_forecast_measures_a_few_and_records_nothing(storage: str, measured: list[Architecture]) -> None:
    given: dict[str, Any] = {"space": "test-wide", "storage": storage, "limit_train": 200, "epochs": 1, "device": "cpu"}
    found = nas.forecast("digits", max_latency=1.5, **given)
    assert found.latency is not None
    assert (found.latencies, found.quick_enough) == (9, sum(ms <= 1.5 for ms in map(milliseconds, measured[-9:])))
    [row] = [line for line in found.table if line.startswith("latency")]
    assert row.endswith(f"  {found.quick_enough} of 9 measured are quick enough")
    assert not database_exists(storage)


# Under tight limits


def two_stages(choices: Any, task: Task) -> Architecture:
    stages = tuple(
        Stage(
            block=Conv(width=choices[f"width{place}"], kernel_size=choices["kernel"]),
            depth=choices[f"depth{place}"],
            stride=place,
        )
        for place in (1, 2)
    )
    return Architecture(channels=task.channels, resolution=task.resolution, classes=task.classes, stages=stages)


LARGE = SearchSpace(
    "large",
    "6,912 networks, too many to go through",
    (
        *(Dimension(f"width{place}", tuple(range(8, 65, 8)), ordered=True) for place in (1, 2)),
        *(Dimension(f"depth{place}", tuple(range(1, 7)), ordered=True) for place in (1, 2)),
        Dimension("kernel", (1, 3, 5)),
    ),
    two_stages,
)


def test_a_tight_limit_does_not_pull_to_shallow_networks() -> None:
    """Three in a hundred keep it. Those that a search accepts have the depths that such networks have by chance."""
    rng = random.Random(1)
    drawn = [LARGE.decode(LARGE.random(rng), TASK) for _ in range(150)]
    macs = sorted(cost(architecture).macs for architecture in drawn)[5]
    by_chance = [architecture.depth for architecture in drawn if cost(architecture).macs <= macs]
    made = Candidates(optuna.create_study(direction="maximize"), LARGE, TASK, Limits(max_macs=macs), "random", 0)
    depths = []
    for slot in range(1, 17):
        candidate = made.next(slot)
        assert candidate is not None
        depths.append(candidate.proposal.architecture.depth)
    assert len(set(depths)) > 3, Counter(depths)
    assert statistics.fmean(depths) >= statistics.fmean(by_chance) - 1, (Counter(depths), Counter(by_chance))


def test_all_networks_within_a_limit_are_found_before_the_search_ends(storage: str) -> None:
    macs = sorted(counted.macs for counted in COSTS)[4]
    result = small_search(storage, budget=40, max_macs=macs)
    assert "nothing new is left" in result.ended
    with StudyStore(storage) as store:
        trained = all_trials(store, store.study("s").id)
    assert len(trained) == sum(counted.macs <= macs for counted in COSTS)


def test_a_space_without_a_quick_network_is_given_up_after_a_while(measured: list[Architecture]) -> None:
    limits = Limits(max_latency=0.001)
    stopwatch = Stopwatch(plan.latency_on(torch.device("cpu")), "here")
    made = Candidates(optuna.create_study(), LARGE, TASK, limits, "random", 0, stopwatch=stopwatch)
    with pytest.raises(NasError, match=r"keeps max-latency 0\.001ms: the smallest found"):
        made.require_feasible()
    assert len(measured) <= PATIENCE
