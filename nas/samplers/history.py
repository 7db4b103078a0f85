"""What a study's trials say to a sampler: how good which parameters were, which are taken, what they range over."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nas.samplers.encoding import Params


class Result(NamedTuple):
    """Parameters and how good they were; larger is better, whatever the study's direction."""

    params: Params
    score: float
    user_attrs: Mapping[str, Any]


@dataclass(frozen=True)
class History:
    """Results in the order of their trials, parameters that are being tried, and all that was ever tried."""

    results: tuple[Result, ...]
    pending: tuple[Params, ...]
    tried: frozenset[int]

    @classmethod
    def of(cls, study: Study, but: int) -> History:
        """Of all trials except the one of number `but`.

        A trial over a constraint has no result: the limits, not its quality, spoke against it.
        """
        sign = -1.0 if study.direction == StudyDirection.MINIMIZE else 1.0
        trials = [trial for trial in study.get_trials(deepcopy=False) if trial.params and trial.number != but]
        return cls(
            tuple(_results(trials, sign)),
            tuple(trial.params for trial in trials if trial.state == TrialState.RUNNING),
            frozenset([key(trial.params) for trial in trials]),
        )

    def newest_and_best(self, count: int) -> tuple[Result, ...]:
        """At most `count` results in the order of their trials, half of them the last, half the best before."""
        if len(self.results) <= count:
            return self.results
        early = len(self.results) - count // 2
        scores = np.array([result.score for result in self.results[:early]])
        best = np.sort(np.argsort(-scores, kind="stable")[: count - count // 2])
        return (*(self.results[index] for index in best), *self.results[early:])


def key(params: Params) -> int:
    """Equal for equal parameters, within one process; it is quick, as every ask makes one of every trial."""
    try:
        return hash(frozenset(params.items()))
    except TypeError:  # Optuna warns of options that cannot be hashed, but takes them.
        return hash(repr(sorted(params.items())))


def distributions(study: Study) -> dict[str, BaseDistribution]:
    """Every parameter of a finished trial that has more than one value, as last suggested, sorted by name."""
    found: dict[str, BaseDistribution] = {}
    for trial in reversed(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))):
        if not trial.distributions.keys() <= found.keys():
            found = {**trial.distributions, **found}
    return {name: found[name] for name in sorted(found) if not found[name].single()}


def _results(trials: Sequence[FrozenTrial], sign: float) -> list[Result]:
    feasible = [trial for trial in trials if not trial.system_attrs or _feasible(trial)]
    peers = _Peers([trial for trial in feasible if trial.state == TrialState.COMPLETE], sign)
    results = []
    for trial in feasible:
        if trial.state == TrialState.COMPLETE:
            results.append(Result(trial.params, sign * trial.values[0], trial.user_attrs))
        elif trial.state == TrialState.PRUNED and trial.intermediate_values:
            step, value = max(trial.intermediate_values.items())
            if math.isfinite(value):
                results.append(Result(trial.params, peers.outlook(step, sign * value), trial.user_attrs))
    return results


def _feasible(trial: FrozenTrial) -> bool:
    return all(value <= 0 for value in trial.constraints.values())


class _Peers:
    """Complete trials, and what a value at some step would have come to among them."""

    def __init__(self, complete: Sequence[FrozenTrial], sign: float) -> None:
        self._complete, self._sign = complete, sign
        self._at: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def outlook(self, step: int, value: float) -> float:
        """The final value of that rank among its peers which `value` has among their values at the same step.

        A pruned trial's last value must not be compared with final ones: it comes from a shorter training. Its rank
        among those that passed the same step is what is known. It is the worst final value where none passed it.
        """
        if step not in self._at:
            pairs = [
                (self._sign * trial.intermediate_values[step], self._sign * trial.value)
                for trial in self._complete
                if trial.value is not None and math.isfinite(trial.intermediate_values.get(step, math.nan))
            ]
            values = np.array(pairs, dtype=float).reshape(-1, 2)
            self._at[step] = (np.sort(values[:, 0]), np.sort(values[:, 1]))
        early, final = self._at[step]
        if len(early) > 0:
            return float(final[max(0, int(np.searchsorted(early, value)) - 1)])
        finals = [self._sign * trial.value for trial in self._complete if trial.value is not None]
        return min(finals) if finals else value
