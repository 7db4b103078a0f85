"""Drawing from spaces, and judging what a sampler suggests."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from small_search import TWINS, WIDE

from nas.candidates import DIGEST, DUPLICATE, Candidates, Exhausted
from nas.draws import descent, draws, every
from nas.errors import NasError
from nas.limits import Limits
from searchspace import ArchitectureError, Dimension, SearchSpace, SpaceError
from searchspace.space import Task
from searchspace.spaces import SPACES, TINY

TASK = Task(channels=1, resolution=8, classes=10)

FOREST = SearchSpace(
    "forest",
    "dimensions under dimensions",
    (
        Dimension("a", ("x", "y", "z")),
        Dimension("a/b", (1, 2), when=("a", ("x", "y"))),
        Dimension("a/b/c", (True, False), when=("a/b", (2,))),
        Dimension("width", (8, 16)),
    ),
    WIDE.body,
)


def candidates(space: SearchSpace = WIDE, limits: Limits | None = None, **changes: Any) -> Candidates:
    study = changes.pop("study", None) or optuna.create_study(direction="maximize")
    given = {"task": TASK, "limits": limits or Limits(), "sampler": "random", "seed": 0}
    return Candidates(study=study, space=space, **{**given, **changes})


# Draws


@pytest.mark.parametrize("space", [FOREST, WIDE, TWINS])
def test_every_choice_of_a_space_comes_once(space: SearchSpace) -> None:
    all_of_them = [tuple(sorted(choices.items())) for choices in every(space)]
    assert len(all_of_them) == len(set(all_of_them)) == space.size
    for choices in every(space):
        space.check(choices)


def test_every_choice_of_a_large_space_is_not_made_at_once() -> None:
    assert len(list(itertools.islice(every(SPACES["cifar"]), 5))) == 5


def nothing_known(digest: str) -> bool:
    return False


def test_a_small_space_is_drawn_to_its_end_and_each_network_once() -> None:
    found = [p.architecture.digest for p in draws(TWINS, TASK, Limits(), nothing_known, random.Random(0))]
    assert len(found) == len(set(found)) == 4
    known = set(found[:3])
    rest = [p.architecture.digest for p in draws(TWINS, TASK, Limits(), known.__contains__, random.Random(1))]
    assert rest == found[3:]


def test_architectures_that_cannot_be_built_are_passed_by() -> None:
    def body(choices: Any, task: Task) -> Any:
        if choices["width"] == 8:
            raise ArchitectureError("too narrow")
        return WIDE.body(choices, task)

    space = SearchSpace("s", "", (Dimension("width", (8, 16)),), body)
    assert [p.choices["width"] for p in draws(space, TASK, Limits(), nothing_known, random.Random(0))] == [16]
    made = candidates(space)
    assert made.next(1).proposal.choices["width"] == 16  # type: ignore[union-attr]
    assert all("cannot be built: too narrow" in t.user_attrs["reason"] for t in told(made, TrialState.FAIL))
    never = SearchSpace("t", "", (Dimension("width", (8,)),), body)
    with pytest.raises(NasError, match="no architecture of space 't' can be built for Task"):
        candidates(never, Limits(max_params=10**9)).require_feasible()
    with pytest.raises(Exhausted):
        candidates(never).next(1)


def told(made: Candidates, state: TrialState) -> list[Any]:
    return made.study.get_trials(states=(state,))


# Candidates


def test_a_duplicate_of_a_running_or_trained_trial_is_told_fail() -> None:
    made = candidates(TWINS)
    digests = []
    for slot in range(1, 5):
        candidate = made.next(slot)
        assert candidate is not None
        digests.append(candidate.proposal.architecture.digest)
        if slot % 2:
            made.study.tell(candidate.trial, 0.5)
    assert len(set(digests)) == 4
    for trial in told(made, TrialState.FAIL):
        assert trial.user_attrs["reason"] == "duplicate of an architecture already trained"
    with pytest.raises(Exhausted, match="space 'test-twins' has no other architecture that can be found"):
        made.next(5)


def test_an_interrupted_one_may_come_again_and_a_failed_one_not() -> None:
    made = candidates(TWINS)
    first = made.next(1)
    assert first is not None
    first.trial.set_user_attr("reason", "interrupted")
    made.study.tell(first.trial, state=TrialState.FAIL)
    again = made.next(1)
    assert again is not None
    assert again.proposal.architecture == first.proposal.architecture
    again.trial.set_user_attr("reason", "the loss was nan in epoch 1")
    made.study.tell(again.trial, state=TrialState.FAIL)
    other = made.next(1)
    assert other is not None
    assert other.proposal.architecture != first.proposal.architecture


def test_two_that_choose_the_same_at_once_do_not_both_train_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker takes the same network between the look and the claim."""
    made = candidates(TWINS)
    real = optuna.Trial.set_user_attr

    def raced(trial: optuna.Trial, name: str, value: Any) -> None:
        if name == DIGEST and not others:
            others.append(made.study.ask())
            real(others[0], DIGEST, value)
        real(trial, name, value)

    others: list[optuna.Trial] = []
    monkeypatch.setattr(optuna.Trial, "set_user_attr", raced)
    candidate = made.next(1)
    assert candidate is not None
    frozen = made.study.get_trials()
    taken = frozen[others[0].number].user_attrs[DIGEST]
    assert candidate.proposal.architecture.digest != taken


def test_the_last_networks_taken_by_another_process_end_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    made, asked = candidates(TWINS), itertools.count()
    for slot in range(1, 5):
        candidate = made.next(slot)
        assert candidate is not None
        made.study.tell(candidate.trial, 0.5)
    known = Candidates._known
    monkeypatch.setattr(Candidates, "_known", lambda self, but=None: set() if next(asked) == 0 else known(self, but))
    with pytest.raises(Exhausted):
        made.next(5, lambda: next(asked) > 100)


def test_a_draw_passes_a_queue_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drawn where the queue's choices are over a limit does not wait behind them."""
    made = candidates(WIDE, Limits(max_params=400))
    for depth in (1, 2, 3, 4):
        made.study.enqueue_trial({"width": 40, "depth": depth, "kernel": 3})
    first = made.next(1)
    assert first is not None
    assert [trial.state for trial in made.study.get_trials()].count(TrialState.WAITING) == 1
    made.study.tell(first.trial, 0.5)
    second = made.next(2)
    assert second is not None
    assert [trial for trial in made.study.get_trials() if trial.state == TrialState.WAITING] == []


def test_slots_are_seeded_apart_and_each_by_itself() -> None:
    def choices(slot: int, seed: int = 0) -> Any:
        candidate = candidates(TINY, seed=seed).next(slot)
        assert candidate is not None
        return candidate.proposal.choices

    assert choices(1) == choices(1)
    assert len({str(choices(slot)) for slot in range(1, 9)}) == 8
    assert choices(1) != choices(1, seed=1)


def test_the_sampler_knows_what_networks_cost_before_it_suggests_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where quality is a matter of size, it comes sooner near the right one than when it is not told (the control)."""

    def median_miss(seed: int) -> float:
        made, misses = candidates(TINY, sampler="evolution", seed=seed), list[float]()
        for slot in range(1, 19):
            candidate = made.next(slot)
            assert candidate is not None
            misses.append(abs(math.log(candidate.proposal.cost.params / 50_000)))
            candidate.trial.set_user_attr("params", candidate.proposal.cost.params)
            made.study.tell(candidate.trial, -misses[-1])
        return statistics.median(misses[10:])

    told = statistics.mean(map(median_miss, range(4)))
    monkeypatch.setattr(Candidates, "_counts", lambda self, choices: {})
    assert told < 0.7 * statistics.mean(map(median_miss, range(4)))


def test_over_a_limit_a_trial_is_told_pruned_with_its_constraint() -> None:
    made = candidates(WIDE, Limits(max_params=400, max_macs=10**9))
    candidate = made.next(1)
    assert candidate is not None
    assert candidate.proposal.cost.params <= 400
    over = told(made, TrialState.PRUNED)
    assert over
    for trial in over:
        assert trial.constraints["params"] > 0 > trial.constraints["macs"]
        assert trial.user_attrs["reason"] == "over max-params 400 and max-macs 1G"
        assert trial.user_attrs["feasible"] is False


def test_a_stop_is_heard_between_suggestions_and_between_draws() -> None:
    made = candidates(TINY, Limits(max_params=1))
    calls: list[int] = []
    assert made.next(1, lambda: len(calls) > 8 or bool(calls.append(1))) is None
    assert told(made, TrialState.RUNNING) == []


def test_an_error_in_a_space_leaves_no_trial_running(monkeypatch: pytest.MonkeyPatch) -> None:
    made = candidates(SearchSpace("s", "", (Dimension("width", (8,)),), lambda choices, task: 1 / 0))  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError):
        made.next(1)
    assert [trial.state for trial in made.study.get_trials()] == [TrialState.FAIL]


def test_a_sampler_of_another_space_is_noticed() -> None:
    made = candidates(TWINS)
    made.study.enqueue_trial({"width": 8, "decoy": "a"})
    assert made.next(1) is not None
    with pytest.raises(SpaceError):
        TWINS.check({"width": 8})


@pytest.mark.parametrize("seed", [0, 1])
def test_impossible_limits_are_found_out_in_seconds(seed: int) -> None:
    """1,000 draws at random took 37 s and found nothing smaller; 100 of them end near 10,000 parameters."""
    with pytest.raises(NasError) as refused:
        candidates(TINY, Limits(max_params=1), seed=seed).require_feasible()
    assert "no architecture of space 'tiny' keeps max-params 1: the smallest found has 7,346 params" in str(
        refused.value
    )


def test_a_limit_that_the_smallest_alone_keeps_is_no_obstacle() -> None:
    made = candidates(TINY, Limits(max_params=7346))
    made.require_feasible()
    candidate = made.next(1)
    assert candidate is not None
    assert candidate.proposal.cost.params == 7346


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cifar", "mobile"])
def test_the_descent_ends_at_one_size_wherever_it_begins(name: str) -> None:
    def smallest(seed: int) -> int:
        *_, last = descent(SPACES[name], Task(), Limits(max_params=1), random.Random(seed))
        return last.cost.params

    assert len({smallest(seed) for seed in range(4)}) == 1


def test_limits_that_something_keeps_pass_at_once() -> None:
    candidates(TINY, Limits(max_params=10**9)).require_feasible()
    candidates(TINY).require_feasible()


def test_a_choice_that_was_queued_twice_is_not_lost_with_the_trial_that_was_interrupted() -> None:
    made = candidates()
    for _ in range(2):
        made.study.enqueue_trial({"width": 8, "depth": 1, "kernel": 3})
    first, other = made.next(0), made.next(1)
    assert first is not None
    assert other is not None
    assert [trial.user_attrs["reason"] for trial in told(made, TrialState.FAIL)] == [DUPLICATE]
    first.trial.set_user_attr("reason", "interrupted")
    made.study.tell(first.trial, state=TrialState.FAIL)
    again = made.next(0)
    assert again is not None
    assert again.proposal.architecture == first.proposal.architecture
    made.study.tell(again.trial, 0.5)
    later = made.next(2)
    assert later is not None
    assert later.proposal.architecture != first.proposal.architecture


def test_two_that_take_up_the_same_lost_choice_at_once_do_not_lose_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = candidates()
    made.study.enqueue_trial({"width": 8, "depth": 1, "kernel": 3})
    first = made.next(0)
    assert first is not None
    first.trial.set_user_attr("reason", "interrupted")
    made.study.tell(first.trial, state=TrialState.FAIL)
    known = Candidates._known

    def seen(self: Candidates, but: optuna.Trial | None = None) -> set[str]:
        """Another process has said that it takes the same, and will be refused as well."""
        return known(self, but) | ({first.proposal.architecture.digest} if but is not None else set())

    monkeypatch.setattr(Candidates, "_known", seen)
    admission = made._admission()
    lost = made._interrupted_choice()
    assert lost is not None
    trial = made._make(0, {"width": 8, "depth": 1, "kernel": 3}, {})
    assert made._judge(set(), admission, trial) is None
    monkeypatch.undo()
    assert made._interrupted_choice() is not None
