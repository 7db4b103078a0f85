"""EvolutionSampler on the spaces that people search, through all that becomes of trials there."""

from __future__ import annotations

import math
import random
import zlib
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import Trial, TrialState

from nas.pruners.rungs import RungPruner
from nas.samplers.evolution import EvolutionSampler
from nas.samplers.suggested import OfSuggested
from searchspace.spaces import SPACES, find_space

optuna.logging.set_verbosity(optuna.logging.ERROR)
RUNGS = (3, 13, 43)


class Strict(OfSuggested):
    """Refuses suggestions outside of a distribution, of which Optuna would draw another at random without a word."""

    def sample_relative(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        given = super().sample_relative(study, trial, search_space)
        for name, value in given.items():
            assert search_space[name]._contains(search_space[name].to_internal_repr(value)), (name, value)
        return given


def quality(choices: dict[str, Any]) -> float:
    """A fake accuracy in 0..1: each option has a worth of its own."""
    worths = [zlib.crc32(f"{name}={value}".encode()) / 2**32 for name, value in choices.items()]
    return sum(worths) / max(1, len(worths))


def finish(study: optuna.Study, trial: Trial, choices: dict[str, Any], several: bool, rng: random.Random) -> None:
    """Train it by rungs; one in ten fails, another is over a limit, another diverges."""
    fate, macs = rng.random(), 10 ** (4 + 4 * quality(dict(reversed(choices.items()))))
    trial.set_user_attr("macs", macs)
    if fate < 0.1:
        study.tell(trial, state=TrialState.FAIL)
        return
    if fate < 0.2:
        trial.set_constraint("params", 1.0)
        study.tell(trial, state=TrialState.PRUNED)
        return
    final, seen = quality(choices), dict[str, float]()
    for step in RUNGS:
        value = math.nan if fate > 0.9 else final * (1 - 0.3 / step) + rng.gauss(0, 0.01)
        seen[str(step)] = value
        if several:
            trial.set_user_attr("rungs", dict(seen))
        else:
            trial.report(value, step)
        if math.isnan(value) or (step != RUNGS[-1] and (rng.random() < 0.7 if several else trial.should_prune())):
            study.tell(trial, state=TrialState.PRUNED)
            return
    study.tell(trial, [final, macs] if several else final)


def search(name: str, count: int, several: bool) -> tuple[optuna.Study, int]:
    """The study after `count` trials, of which up to four run side by side, and how many suggestions were repeats."""
    space, rng = find_space(name), random.Random(0)
    study = optuna.create_study(
        directions=["maximize", "minimize"] if several else ["maximize"], pruner=RungPruner(RUNGS[:-1])
    )
    study.set_metric_names(["val_accuracy", "macs"] if several else ["val_accuracy"])
    running: list[tuple[Trial, dict[str, Any]]] = []
    known, repeats = set[str](), 0
    for number in range(count):
        sampler: BaseSampler = EvolutionSampler(seed=number)
        study.sampler = Strict(sampler)
        trial = study.ask()
        choices = dict(space.choose(trial))
        space.decode(choices)
        repeats += repr(sorted(choices.items())) in known
        known.add(repr(sorted(choices.items())))
        running.append((trial, choices))
        if len(running) == 4:
            finish(study, *running.pop(rng.randrange(4)), several, rng)
    return study, repeats


def check(study: optuna.Study, repeats: int) -> None:
    states = {trial.state for trial in study.trials}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING}
    assert repeats <= len(study.trials) / 10  # TPE's and random ones, and where conditions make two suggestions one
    known = [trial for trial in study.trials if trial.state != TrialState.RUNNING]
    if len(study.directions) == 1:  # It has learnt from its random beginning; what is best is soon used up.
        assert mean_quality(known[20:60]) > mean_quality(known[:10])


def mean_quality(trials: list[optuna.trial.FrozenTrial]) -> float:
    return sum(quality(trial.params) for trial in trials) / len(trials)


CASES = pytest.mark.parametrize(("name", "several"), [*((name, False) for name in SPACES), ("cifar", True)])


@CASES
def test_every_suggestion_is_a_valid_architecture(name: str, several: bool) -> None:
    check(*search(name, 45, several))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@CASES
def test_it_is_so_for_hundreds_of_trials(name: str, several: bool) -> None:
    check(*search(name, 250, several))
