"""No single trial eats the budget: what costs far more than is usual, or too much of the time, is not trained."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterator

import pytest
from optuna.trial import FrozenTrial, TrialState
from small_search import WIDE, Fake, assert_settled, optuna_trials, score, small_search

from nas.draws import every
from nas.foresight.survey import survey
from nas.limits import Limits
from nas.training.score import EpochScore
from nas.trial_cost import MEASURED, SHARES, TIMES, TrialCost
from searchspace import Architecture, Cost, Dimension, SearchSpace, Task, cost
from searchspace.spaces import SPACES
from studies import Duration, StudyStore

TASK = Task(channels=1, resolution=8, classes=10)
GIANTS = SearchSpace(
    "test-giants",
    "18 networks, three of them far larger than the others",
    (
        Dimension("width", (16, 24, 32, 40, 48, 512), ordered=True),
        Dimension("depth", (2, 3, 4), ordered=True),
    ),
    WIDE.body,
)
PACE = 1e-2  # seconds an epoch for each multiply-add


@pytest.fixture(autouse=True)
def _giants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SPACES, GIANTS.name, GIANTS)


def is_giant(architecture: Architecture) -> bool:
    return cost(architecture).params > 10**6


class Timed(Fake):
    """A training that says it took long, and takes no time."""

    def __call__(self, architecture: Architecture, *, seed: int, stop: Callable[[], bool]) -> Iterator[EpochScore]:
        self.trained.append(architecture)
        for epoch in range(1, self.epochs + 1):
            yield score(epoch, self.accuracy(architecture), seconds=PACE * cost(architecture).macs)


def refused(storage: str) -> list[FrozenTrial]:
    return [trial for trial in optuna_trials(storage) if trial.constraints.get("time", 0) > 0]


def durations(costs: list[Cost], epochs: int = 3, setup: float = 0.0) -> list[Duration]:
    return [
        Duration(each.params, each.macs, each.activations, epochs, setup + epochs * PACE * each.macs, PACE * each.macs)
        for each in costs
    ]


def costs_of(space: SearchSpace) -> list[Cost]:
    return [cost(space.decode(choices, TASK)) for choices in every(space)]


# In a search


def test_a_giant_is_told_pruned_with_its_constraint_and_not_counted(storage: str) -> None:
    fake = Timed()
    small_search(storage, GIANTS, budget=10, sampler="random", evaluate=fake)
    assert_settled(storage, 10)
    assert not any(map(is_giant, fake.trained))
    assert refused(storage)
    for trial in refused(storage):
        assert trial.params["width"] == 512
        assert trial.state == TrialState.PRUNED
        assert trial.user_attrs["feasible"] is False
        assert "that one trial may take" in trial.user_attrs["reason"]


def test_a_giant_that_a_person_named_is_trained(storage: str) -> None:
    giant = GIANTS.decode({"width": 512, "depth": 4}, TASK)
    fake = Timed()
    small_search(storage, GIANTS, budget=3, sampler="random", evaluate=fake, start_from=[giant])
    assert fake.digests[0] == giant.digest
    assert not any(map(is_giant, fake.trained[1:]))


def test_no_trial_takes_more_than_its_part_of_the_time_that_is_given(storage: str) -> None:
    """Once a few trials have told what a multiply-add takes."""
    seconds = sorted(3 * PACE * counted.macs for counted in costs_of(WIDE))
    most = seconds[len(seconds) // 2]
    fake = Timed()
    small_search(storage, budget=12, sampler="random", pruner="none", evaluate=fake, time_limit=SHARES * most)
    assert_settled(storage, 12)
    later = [3 * PACE * cost(architecture).macs for architecture in fake.trained[MEASURED:]]
    assert max(later) <= most * 1.05
    assert refused(storage)
    assert all("of training that one trial may take" in trial.user_attrs["reason"] for trial in refused(storage))
    without = Timed()
    small_search(storage, budget=12, sampler="random", pruner="none", evaluate=without, study="without")
    assert max(3 * PACE * cost(architecture).macs for architecture in without.trained[MEASURED:]) > most


def test_all_that_is_within_the_bound_is_trained_and_then_the_search_ends(storage: str) -> None:
    result = small_search(storage, GIANTS, budget=18, sampler="random", pruner="none", evaluate=Timed())
    assert "nothing new is left" in result.ended
    assert "of training" in result.ended
    with StudyStore(storage) as store:
        assert store.slot_counts(store.study("s").id)["DONE"] == 15


# The bound


def test_the_bound_follows_from_the_trials_alone() -> None:
    trained = durations(random.Random(0).sample(costs_of(WIDE), 9))
    bounds = [TrialCost(WIDE, TASK, Limits(), 3, 60.0).bound(trained) for _ in range(2)]
    assert bounds[0] is not None
    assert bounds[1] is not None
    assert bounds[0].most == bounds[1].most
    assert [bounds[0].excess(each) for each in costs_of(WIDE)] == [bounds[1].excess(each) for each in costs_of(WIDE)]


def test_before_there_are_trials_cost_is_relative_to_the_median() -> None:
    bound = TrialCost(WIDE, TASK, Limits(), 3, seconds=1e-9).bound(durations(costs_of(WIDE)[: MEASURED - 1]))
    assert bound is not None
    middle = Cost(
        1,
        round(statistics.median(each.macs for each in costs_of(WIDE))),
        round(statistics.median(each.activations for each in costs_of(WIDE))),
    )
    assert bound.excess(middle) == pytest.approx(1 / TIMES - 1, rel=0.01)
    assert bound.excess(Cost(1, middle.macs * 11, middle.activations * 11)) > 0
    assert not bound.in_seconds


def test_set_up_is_paid_once_however_short_the_trials_were() -> None:
    """Of a trial that ended after one epoch, set-up is not taken for the pace of all epochs."""
    trained = durations(costs_of(WIDE)[:12], epochs=1, setup=30.0)
    bound = TrialCost(WIDE, TASK, Limits(), 100).bound(trained)
    assert bound is not None
    for each in costs_of(WIDE):
        assert bound.predict(each) == pytest.approx(30.0 + 100 * PACE * each.macs, rel=0.02)


def test_a_time_too_short_for_any_network_leaves_the_cheapest_quarter() -> None:
    bound = TrialCost(WIDE, TASK, Limits(), 3, seconds=1e-6).bound(durations(costs_of(WIDE)))
    assert bound is not None
    assert 0.2 <= statistics.fmean(bound.excess(each) <= 1e-9 for each in costs_of(WIDE)) <= 0.4


def test_a_longer_time_never_allows_less_and_never_more_than_the_median_often() -> None:
    trained = durations(costs_of(WIDE))
    most = []
    for seconds in (1e-6, 1e-2, 1e-1, 1.0, 10.0, 1e6, None):
        bound = TrialCost(WIDE, TASK, Limits(), 3, seconds).bound(trained)
        assert bound is not None
        most.append(bound.most)
    assert most == sorted(most)
    assert most[0] < most[-1] == most[-2]


@pytest.mark.parametrize("place", [0, 1, 5, 20])
def test_the_bound_never_contradicts_a_limit(place: int) -> None:
    """Some network that keeps the limit is within the bound, however tight the limit and the time are."""
    limits = Limits(max_params=sorted(each.params for each in costs_of(WIDE))[place])
    within = [each for each in costs_of(WIDE) if limits.allow(each)]
    for trained in ([], durations(costs_of(WIDE))):
        bound = TrialCost(WIDE, TASK, limits, 3, seconds=1e-6).bound(trained)
        assert bound is not None
        assert min(bound.excess(each) for each in within) <= 0


@pytest.mark.slow
@pytest.mark.parametrize(("name", "side", "dearest"), [("tiny", 32, 2.8), ("cifar", 32, 5.2), ("mobile", 64, 4.2)])
def test_chance_finds_nothing_over_the_bound_in_our_spaces(name: str, side: int, dearest: float) -> None:
    task = Task(channels=3, resolution=side, classes=10)
    bound = TrialCost(SPACES[name], task, Limits(), 10).bound([])
    assert bound is not None
    seen = survey(SPACES[name], task, Limits(), random.Random(0), most=300, seconds=1000.0)
    assert max(bound.predict(proposal.cost) for proposal in seen.sample) == pytest.approx(dearest, rel=0.35)
    assert max(bound.excess(proposal.cost) for proposal in seen.sample) <= 0
