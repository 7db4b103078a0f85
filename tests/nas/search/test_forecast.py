"""What a search will take is told before it is spent."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import optuna
import pytest
from small_search import EPOCHS, TWINS, WIDE, Fake, Heard, small_search

import nas
import nas.training.timing
from nas.draws import every
from nas.errors import NasError
from nas.foresight.forecasting import QUICK, Effort, Past, foresee, past_of, seconds_left
from nas.foresight.outlook import Forecast
from nas.foresight.survey import Spread, survey
from nas.limits import Limits
from nas.progress import PlainProgress
from nas.pruners import PRUNERS, make_pruner
from nas.pruners.expected import EXPECTED, expected_epochs
from nas.training.data import load_dataset
from nas.training.footprint import training_bytes
from nas.training.recipe import Recipe, rungs_for
from nas.training.score import EpochScore
from nas.training.timing import TimeModel, Timing, fit, time_training
from searchspace import Cost, Task, cost
from searchspace.spaces import SPACES
from studies import StudyMismatch, StudyStore

TASK = Task(channels=1, resolution=8, classes=10)
MODEL = TimeModel((0.5, 1e-6, 2e-6), setup=1.0)


def wide(limits: Limits = Limits(), most: int = 100) -> Any:  # noqa: B008
    return survey(WIDE, TASK, limits, random.Random(0), most=most, seconds=60.0)


@pytest.fixture(scope="module")
def digits() -> Any:
    return load_dataset("digits", limit_train=300)


def forecast_of(digits: Any, **changes: Any) -> Forecast:
    given: dict[str, Any] = {"space": WIDE, "task": TASK, "limits": Limits(), "dataset": digits, "budget": 5, "seed": 0}
    given |= {"recipe": Recipe(epochs=2), "pruner": "asha", "past": Past(), "effort": Effort(40, 60.0, 2, 60.0, 1, 64)}
    return foresee(**{**given, **changes})


def test_a_network_that_fails_is_no_end_of_a_forecast(digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the search it costs one trial."""
    asked = []

    def failing_first(architecture: Any, *given: Any, **named: Any) -> Timing | None:
        asked.append(architecture)
        if len(asked) == 1:
            raise RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED")
        return time_training(architecture, *given, **named)

    monkeypatch.setattr("nas.foresight.forecasting.time_training", failing_first)
    found = forecast_of(digits)
    assert len(asked) == 2
    assert found.measured_networks == 1


def test_all_of_a_small_space_is_counted() -> None:
    costs = [cost(WIDE.decode(choices, TASK)) for choices in every(WIDE)]
    limit = sorted(each.params for each in costs)[9]
    found = wide(Limits(max_params=limit))
    assert (found.exact, found.drawn, found.size) == (True, 40, 40)
    assert found.share == sum(each.params <= limit for each in costs) / 40
    assert found.spread(lambda each: each.params).largest == limit
    assert found.spread(lambda each: each.params).smallest == min(each.params for each in costs)


def test_without_limits_everything_fits() -> None:
    assert wide().share == 1.0
    assert survey(SPACES["tiny"], TASK, Limits(), random.Random(0), most=25, seconds=60).share == 1.0


def test_equal_seeds_draw_equal_networks() -> None:
    drawn = [survey(SPACES["tiny"], TASK, Limits(), random.Random(7), most=21, seconds=60).sample for _ in range(2)]
    assert [each.architecture.digest for each in drawn[0]] == [each.architecture.digest for each in drawn[1]]


def test_a_slow_space_is_drawn_for_so_long_and_no_longer() -> None:
    found = survey(SPACES["tiny"], TASK, Limits(), random.Random(0), most=10**6, seconds=0.0)
    assert 15 <= found.drawn <= 20
    assert not found.exact


def test_limits_that_chance_does_not_meet_are_looked_for() -> None:
    smallest = min(cost(SPACES["tiny"].decode(SPACES["tiny"].random(random.Random(n)), TASK)).params for n in range(60))
    limits = Limits(max_params=smallest * 9 // 10)
    found = survey(SPACES["tiny"], TASK, limits, random.Random(0), most=20, seconds=5.0)
    assert found.fitting == 0
    assert found.sample
    assert all(limits.allow(proposal.cost) for proposal in found.sample)


@pytest.mark.parametrize("pruner", PRUNERS)
@pytest.mark.parametrize(("epochs", "trials"), [(10, 40), (3, 8), (1, 5)])
def test_expected_epochs_are_those_of_the_pruner(pruner: str, epochs: int, trials: int) -> None:
    """Against Optuna's own, told values in a random order that the epochs do not change."""
    assert pruner in EXPECTED
    told = []
    recipe = Recipe(epochs=epochs, rungs=rungs_for(epochs) if pruner == "rungs" else ())
    reported = recipe.rung_ends if recipe.rungs else range(1, epochs + 1)
    for seed in range(4):
        rng, trained = random.Random(seed), 0
        study = optuna.create_study(direction="maximize", pruner=make_pruner(pruner, epochs), study_name=str(seed))
        for _ in range(trials):
            trial, value = study.ask(), rng.random()
            for before, epoch in zip((0, *reported), reported, strict=False):
                trial.report(value + epoch, epoch)
                trained += epoch - before
                if epoch < reported[-1] and trial.should_prune():
                    break
            study.tell(trial, value)
        told.append(trained)
    assert expected_epochs(pruner, epochs, trials) == pytest.approx(sum(told) / len(told), rel=0.2)


@pytest.mark.parametrize("pruner", [*EXPECTED, "a user's own"])
def test_more_epochs_and_more_trials_take_longer(pruner: str) -> None:
    seen = wide()
    by_epochs = [seconds_left(seen, MODEL, pruner, epochs, 0, 20) for epochs in (1, 2, 5, 10, 30)]
    by_budget = [seconds_left(seen, MODEL, pruner, 10, 0, budget) for budget in (1, 2, 5, 20, 100)]
    by_done = [seconds_left(seen, MODEL, pruner, 10, done, 20) for done in (20, 15, 5, 0)]
    for sums in (by_epochs, by_budget, by_done):
        assert sums == sorted(sums)
        assert len(set(sums)) == len(sums)
    assert by_done[0] == 0.0


def test_the_model_finds_the_law_of_what_was_timed() -> None:
    costs = [Cost(1, macs, activations) for macs, activations in ((10, 5), (40, 9), (90, 30), (20, 25), (70, 70))]
    model = fit([Timing(each, 2.0, 3 + 0.5 * each.macs + 0.25 * each.activations, "") for each in costs])
    assert model.weights == pytest.approx((3, 0.5, 0.25))
    assert model.trial(Cost(1, 100, 100), 10) == pytest.approx(2 + 10 * 78)


def test_no_time_is_below_zero() -> None:
    falling = [Timing(Cost(1, macs, macs), 0.0, 10.0 / macs, "") for macs in (1, 2, 4, 8, 16)]
    assert min(fit(falling).weights) >= 0.0
    assert fit(falling[:1]).epoch(Cost(1, 3, 3)) == pytest.approx(30.0)


def test_memory_grows_with_batch_weights_and_moments() -> None:
    small = Cost(1000, 1, 500)
    assert training_bytes(small, 10) < training_bytes(small, 20) < training_bytes(replace(small, activations=900), 20)
    assert training_bytes(small, 10, optimizer="adam") - training_bytes(small, 10) == 4 * 1000
    assert training_bytes(small, 10, bfloat16=True) < training_bytes(small, 10)


def test_networks_are_timed_by_the_trials_own_training(digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    architecture = WIDE.decode({"width": 8, "depth": 1, "kernel": 3}, TASK)
    timing = time_training(architecture, cost(architecture), digits, Recipe(epochs=9), lambda: False)
    assert timing is not None
    assert timing.epoch > 0
    assert timing.trial(10) == pytest.approx(timing.setup + 10 * timing.epoch)
    real, epochs = nas.training.timing.train_architecture, list[int]()

    def counted(*given: Any, **named: Any) -> Iterator[EpochScore]:
        for score in real(*given, **named):
            epochs.append(score.epoch)
            yield score

    monkeypatch.setattr("nas.training.timing.train_architecture", counted)
    time_training(architecture, cost(architecture), digits, Recipe(epochs=40, rungs=rungs_for(40)), lambda: False)
    assert epochs == [1, 2], "whatever rungs a trial has"
    assert time_training(architecture, cost(architecture), digits, Recipe(), lambda: True) is None


@pytest.mark.gpu
def test_networks_are_timed_on_cuda_with_the_capture_of_their_step(digits: Any) -> None:
    architecture = WIDE.decode({"width": 8, "depth": 1, "kernel": 3}, TASK)
    timing = time_training(architecture, cost(architecture), digits.to("cuda:0"), Recipe(batch_size=16), lambda: False)
    assert timing is not None
    assert timing.setup > 0
    assert "CUDA graph" in timing.execution


def test_a_forecast_tells_networks_cost_time_and_what_it_rests_on(digits: Any) -> None:
    found = forecast_of(digits, limits=Limits(max_params=3000))
    assert found.measured_networks == 2
    assert found.trial_seconds is not None
    assert found.trial_seconds.smallest <= found.trial_seconds.median <= found.trial_seconds.largest
    assert found.seconds is not None
    assert found.seconds > 0
    assert found.line.startswith("40 networks, 65 % fit max-params 3k; a trial takes about ")
    assert ", 5 trials about " in found.line
    table = list(found.table)
    assert table[0].endswith("(all 40)")
    assert [row.split()[0] for row in table[2:7]] == ["params", "MACs", "activations", "memory", "trial"]
    assert "by a few steps of 2 networks" in table[6]


def test_a_study_of_its_own_tells_the_time_and_nothing_is_trained(digits: Any) -> None:
    found = forecast_of(digits, past=Past(done=4, seconds=30.0), budget=10)
    assert (found.measured_networks, found.measured_trials, found.left) == (0, 4, 6)
    assert found.seconds == 180.0
    assert found.line == "40 networks; a trial takes about 30 s, 6 trials about 3 min 0 s"
    assert forecast_of(digits, past=Past(done=4, seconds=30.0), budget=10, workers=2).seconds == 90.0
    limited = forecast_of(digits, past=Past(done=4, seconds=30.0), budget=10, time_limit=60.0)
    assert limited.line.endswith("; 1 min 0 s are given")


def test_a_spent_budget_leaves_nothing_to_train(digits: Any) -> None:
    found = forecast_of(digits, past=Past(done=5, seconds=30.0))
    assert (found.left, found.seconds) == (0, 0.0)
    assert found.line == "40 networks; no trial is left to train, a larger budget goes on"


def test_limits_that_nothing_keeps_are_named(digits: Any) -> None:
    with pytest.raises(NasError, match="max-params 10"):
        forecast_of(digits, limits=Limits(max_params=10))


def test_a_study_of_other_settings_is_refused_before_anything_is_looked_at(
    storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a dry run as by the search; what differs because another setting does is not named."""
    small_search(storage, budget=2)
    monkeypatch.setattr("nas.plan.foresee", None)
    given: dict[str, Any] = {"storage": storage, "study": "s", "limit_train": 200, "device": "cpu", "pruner": "asha"}
    with pytest.raises(StudyMismatch, match=r"was made with space='test-wide', now space='test-twins'; use another"):
        nas.forecast("digits", space=TWINS.name, epochs=EPOCHS, **given)
    with pytest.raises(StudyMismatch, match=r"was made with seed=0, now seed=1; use another"):
        nas.forecast("digits", space=WIDE.name, epochs=EPOCHS, seed=1, **given)
    with pytest.raises(StudyMismatch, match=r"was made with epochs=3, now epochs=4; use another"):
        small_search(storage, budget=2, epochs=EPOCHS + 1, evaluate=None, progress=PlainProgress())


@pytest.mark.parametrize("rungs", [(), (1,)])
def test_past_trials_of_a_study_are_found(
    rungs: tuple[int, ...], storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.asked.rungs_for", lambda epochs: rungs)
    small_search(storage, budget=3, evaluate=Fake(), pruner="rungs")
    with StudyStore(storage) as store:
        recipe, data = Recipe(epochs=EPOCHS, rungs=rungs), str(store.study("s").settings["data_fingerprint"])
        past = past_of(store, "s", recipe, data)
        assert past.done == 3
        assert past.seconds is not None
        assert past_of(store, "another", recipe, data) == Past()
        longer = recipe.model_copy(update={"epochs": EPOCHS + 1})
        for other in ((longer, data), (Recipe(epochs=EPOCHS, optimizer="sgd"), data), (recipe, "other images")):
            assert past_of(store, "s", *other) == Past(), "seconds of other trainings say nothing of these"


def test_every_search_that_speaks_says_it_first(storage: str, capsys: Any) -> None:
    small_search(storage, TWINS, budget=1, epochs=1, evaluate=None, progress=PlainProgress())
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("12 networks; ")


def test_a_search_that_tells_nothing_looks_at_nothing(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("nas.plan.foresee", refuse)
    small_search(storage, TWINS, budget=1, epochs=1, evaluate=None, progress=Heard())


def test_quick_is_quicker_than_thorough_and_a_spread_is_plain_data(digits: Any) -> None:
    from nas.foresight.forecasting import THOROUGH

    assert all(quick <= thorough for quick, thorough in zip(vars(QUICK).values(), vars(THOROUGH).values(), strict=True))
    assert asdict(Spread.of([3, 1, 2])) == {"smallest": 1, "median": 2, "largest": 3}
