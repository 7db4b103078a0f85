"""Which trials go on from a rung: the best of those that passed it so far, by one objective or by several."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from optuna import Study
from optuna.pruners import BasePruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from nas.errors import NasError
from nas.interruption import was_interrupted
from nas.training.recipe import RUNG_FACTOR

Floats = NDArray[np.float64]


class RungPruner(BasePruner):
    """Asynchronous successive halving (Li et al. 2020) with rungs at given steps; for a study of one objective.

    A trial whose last step is one of `rungs` goes on if it is among the best 1/factor, or the best one, of all trials
    that reported a value at that step so far, but for those that were interrupted: what takes their place would be
    measured against itself. At other steps it always goes on. Unlike in Optuna's
    SuccessiveHalvingPruner a value counts as it was reported at the rung, so that each rung may end a learning rate
    schedule of its own, and a trial is not pruned between rungs. Of equal values the earlier trial's is the better.

    Args:
        rungs: steps at the end of which a trial is judged.
        factor: one in so many goes on.

    Raises:
        NasError: a rung is below 1 or they do not rise, or the factor is below 2.
    """

    def __init__(self, rungs: Sequence[int], factor: int = RUNG_FACTOR) -> None:
        if any(rung < 1 for rung in rungs) or any(later <= rung for rung, later in itertools.pairwise(rungs)):
            raise NasError(f"rungs {tuple(rungs)} are not usable: give rising steps of at least 1, such as (3, 13)")
        if factor < 2:
            raise NasError(f"factor {factor} would prune nothing: give at least 2")
        self._rungs, self._factor = frozenset(rungs), factor

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        step = trial.last_step
        if step not in self._rungs:
            return False
        sign = -1.0 if study.direction == StudyDirection.MINIMIZE else 1.0
        peers = [
            other
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number and step in other.intermediate_values and not was_interrupted(other)
        ]
        passed = sorted([*peers, trial], key=lambda other: other.number)
        values = [(sign * other.intermediate_values[step],) for other in passed]
        return not promoted(values, passed.index(trial), self._factor)


def promoted(values: Sequence[tuple[float, ...]], own: int, factor: int = RUNG_FACTOR) -> bool:
    """Whether the trial at index `own` is among the best 1/factor, or the best one, of all that passed a rung.

    With several objectives the best are those of `order`, so that what is kept reaches from one end of the Pareto
    front to the other: a small cheap network is kept however far behind the large ones its accuracy is.

    Args:
        values: for each trial its objectives, all of them to be maximised, in the order of the trials.
        own: index of the trial in question. One with a value that is not a number is never promoted.
        factor: one in so many goes on.
    """
    if any(math.isnan(value) for value in values[own]):
        return False
    kept = max(1, len(values) // factor)
    return own in order(values, kept)


def order(values: Sequence[tuple[float, ...]], count: int) -> list[int]:
    """Indexes of the best `count` (or all) of `values`, best first.

    One Pareto front after the other (non-dominated sorting); in a front the one of the best first objective, then
    always the one farthest from all before it: EpsNet (Schmucker et al. 2021). Distances are between ranks, so that
    neither units nor logarithms of an objective change the order. Of equal ones the earlier comes first. With one
    objective that is the plain order of its values.
    """
    ranks = _ranks(np.nan_to_num(np.array(values, dtype=float), nan=-np.inf, posinf=np.inf, neginf=-np.inf))
    if ranks.shape[1] == 1:
        return [int(index) for index in np.argsort(-ranks[:, 0], kind="stable")[:count]]
    left, found = np.arange(len(ranks)), list[int]()
    while len(found) < count and len(left) > 0:
        front = left[_front(ranks[left])]
        found += [int(front[place]) for place in _spread(ranks[front], count - len(found))]
        left = np.setdiff1d(left, front)
    return found


def _ranks(values: Floats) -> Floats:
    """Each column's places in rising order, scaled to 0..1; equal values share a place."""
    columns = [np.unique(column, return_inverse=True)[1] / max(1, len(column) - 1) for column in values.T]
    return np.stack(columns, axis=1)


def _front(ranks: Floats) -> NDArray[np.int64]:
    """Rising indexes of those that no other one dominates."""
    front = list[int]()
    # Whoever dominates a row comes before it in this order.
    for index in np.lexsort(-ranks.T[::-1]):
        better = ranks[front] >= ranks[index]
        if not (better.all(axis=1) & (ranks[front] > ranks[index]).any(axis=1)).any():
            front.append(int(index))
    return np.array(sorted(front))


def _spread(ranks: Floats, count: int) -> list[int]:
    """Of rows of one front at most `count`, each the farthest from those before it."""
    chosen = [int(np.argmax(ranks[:, 0]))]
    distance = np.linalg.norm(ranks - ranks[chosen[0]], axis=1)
    distance[chosen[0]] = -1
    while len(chosen) < min(count, len(ranks)):
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, np.linalg.norm(ranks - ranks[chosen[-1]], axis=1))
        distance[chosen] = -1
    return chosen
