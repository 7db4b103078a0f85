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

from nas.samplers.curves import FINAL, Curve, comparable
from nas.samplers.encoding import Floats, Params
from nas.samplers.scalarised import scalarised

RUNGS = "rungs"  # user attribute: values of the first objective by step, {"3": 0.61, "13": 0.74}


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
    def of(cls, study: Study, but: int, weights: Floats | None = None) -> History:
        """Of all trials except the one of number `but`.

        A trial over a constraint has no result: the limits, not its quality, spoke against it. One that was pruned
        counts as what it would have come to (`comparable`), by the values it reported, or by its user attribute
        `rungs`: a study of several objectives takes no reports.

        Args:
            weights: of the objectives where there are several, whose score is then that of `scalarised`. A pruned
                trial's first objective is told from its `rungs`; the others are its user attributes of their names,
                without which it has no result.
        """
        trials = [trial for trial in study.get_trials(deepcopy=False) if trial.params and trial.number != but]
        return cls(
            tuple(_results(study, trials, weights)),
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


_TOLD = (TrialState.COMPLETE, TrialState.PRUNED)


def _results(study: Study, trials: Sequence[FrozenTrial], weights: Floats | None) -> list[Result]:
    minimised = np.array([direction == StudyDirection.MINIMIZE for direction in study.directions])
    sign, several = (-1.0 if minimised[0] else 1.0), len(minimised) > 1
    others = (study.metric_names or [])[1:] if several else []  # Hyperband's view of a study has no names
    found: list[tuple[FrozenTrial, Curve, list[float]]] = []
    for trial in trials:
        if trial.state in _TOLD and (not trial.system_attrs or _feasible(trial)):
            curve, costs = _curve(trial, sign), _costs(trial, others) if several else []
            if curve and (not several or len(costs) == len(minimised) - 1):
                found.append((trial, curve, costs))
    scores = comparable([curve for _, curve, _ in found])
    known = np.flatnonzero(np.isfinite(scores))
    if weights is not None and len(known) > 0:
        values = np.column_stack([sign * scores, [costs for *_, costs in found]])[known]
        scores[known] = scalarised(values, minimised, weights)
    return [
        Result(found[index][0].params, score, found[index][0].user_attrs)
        for index, score in zip(known.tolist(), scores[known].tolist(), strict=True)
    ]


def _curve(trial: FrozenTrial, sign: float) -> Curve:
    """The first objective's finite values by step; empty for a trial that says nothing.

    A pruned trial whose last value is not a number says nothing, whatever it had before.
    """
    reported = trial.intermediate_values or _of_attribute(trial.user_attrs.get(RUNGS))
    curve: dict[float, float] = {step: sign * value for step, value in reported.items() if math.isfinite(value)}
    if trial.state == TrialState.COMPLETE:
        final = sign * trial.values[0]
        return {**curve, FINAL: final} if math.isfinite(final) else {}
    return curve if curve and max(curve) == max(reported) else {}


def _of_attribute(rungs: Any) -> dict[int, float]:
    """Of {"3": 0.61, "13": 0.74}; anything else may be somebody's attribute of the same name, and is nothing."""
    if not isinstance(rungs, dict):
        return {}
    try:
        return {int(step): float(value) for step, value in rungs.items()}
    except (TypeError, ValueError):
        return {}


def _costs(trial: FrozenTrial, names: Sequence[str]) -> list[float]:
    """The finite values of the objectives after the first: a pruned trial's are its attributes of their names."""
    costs = trial.values[1:] if trial.state == TrialState.COMPLETE else [trial.user_attrs.get(name) for name in names]
    return [float(cost) for cost in costs if isinstance(cost, int | float) and math.isfinite(cost)]


def _feasible(trial: FrozenTrial) -> bool:
    return all(value <= 0 for value in trial.constraints.values())
