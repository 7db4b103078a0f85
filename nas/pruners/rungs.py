"""Who goes on from a rung: the best share of all trials that came to its end, so far."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from optuna import Study
from optuna.pruners import BasePruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nas.training.recipe import RUNG_FACTOR


class RungPruner(BasePruner):
    """Asynchronous successive halving (Li et al. 2020) over trainings that are complete at each rung.

    `rungs` are the steps at which a schedule ends and a longer one would begin. A trial whose last step is one of them
    is pruned unless it is among the best `1 / factor` of the trials that have passed that step so far, or the best. At
    other steps, and where a value is NaN, nothing is decided: that is the caller's or Optuna's.
    """

    def __init__(self, rungs: Sequence[int], factor: int = RUNG_FACTOR) -> None:
        if factor < 2 or list(rungs) != sorted(set(rungs)):
            raise ValueError(f"rungs are rising steps and the factor is 2 or more, given {rungs} and {factor}")
        self._rungs, self._factor = tuple(rungs), factor

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        step = trial.last_step
        if step not in self._rungs:
            return False
        sign = -1.0 if study.direction == StudyDirection.MINIMIZE else 1.0
        peers = [
            other
            for other in study.get_trials(deepcopy=False)
            if step in other.intermediate_values and other.state != TrialState.FAIL and other.number != trial.number
        ]
        values = [(sign * peer.intermediate_values[step],) for peer in [*peers, trial]]
        return not promoted(values, len(peers), self._factor)


def promoted(values: Sequence[tuple[float, ...]], own: int, factor: int = RUNG_FACTOR) -> bool:
    """Whether `values[own]` is among the best `1 / factor` of all, at least one of which goes on; larger is better.

    Several values: Pareto fronts one after the other, and inside a front each time the one farthest from those chosen
    before (EpsNet, Schmucker et al. 2021), so that the whole front survives and not its middle alone. The best by the
    first value is chosen first.
    """
    count = max(1, len(values) // factor)
    if len(values[own]) == 1:
        return sum(value > values[own] for value in values) < count
    chosen: list[int] = []
    for front in fronts(np.array(values, dtype=float)):
        chosen += spread_out(np.array(values, dtype=float), front)
        if len(chosen) >= count:
            break
    return own in chosen[:count]


def fronts(values: NDArray[np.float64]) -> list[list[int]]:
    """Rows by Pareto front, the one that no other row beats first."""
    no_worse = (values[:, None] >= values[None]).all(2)
    beats = no_worse & ~no_worse.T
    left, found = np.ones(len(values), dtype=bool), []
    while left.any():
        front = left & ~beats[left].any(0)
        found.append([int(index) for index in np.flatnonzero(front)])
        left &= ~front
    return found


def spread_out(values: NDArray[np.float64], front: Sequence[int]) -> list[int]:
    """A front's rows, the best by the first value first, then always the one farthest from those before.

    Distances are those of places in the ranking of each value: costs differ by orders of magnitude.
    """
    places = values.argsort(0, kind="stable").argsort(0, kind="stable")[list(front)] / max(1, len(values) - 1)
    order = [int(places[:, 0].argmax())]
    nearest = np.abs(places - places[order[0]]).sum(1)
    while len(order) < len(front):
        nearest[order] = -1.0
        order.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.abs(places - places[order[-1]]).sum(1))
    return [front[index] for index in order]
