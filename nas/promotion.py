"""Whether a trial of a study with several objectives goes on to its next rung, which Optuna's pruners cannot say."""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial, TrialState

from nas.objectives import Objectives
from nas.pruners.rungs import promoted
from nas.study import RUNGS


def goes_on(study: optuna.Study, trial: optuna.Trial, objectives: Objectives) -> bool:
    """Whether the trial is among the best third of those that passed its last rung, by Pareto fronts.

    The accuracy is that at the rung's end. Trials over a limit have none and are no peers.
    """
    step = max(trial.user_attrs[RUNGS], key=int)
    peers = [other for other in study.get_trials(deepcopy=False) if step in other.user_attrs.get(RUNGS, {})]
    peers = [other for other in peers if other.state != TrialState.FAIL or other.number == trial.number]
    own = [other.number for other in peers].index(trial.number)
    return promoted([_gains(other, step, objectives) for other in peers], own)


def _gains(trial: FrozenTrial, step: str, objectives: Objectives) -> tuple[float, ...]:
    return objectives.gains(trial.user_attrs[RUNGS][step], trial.user_attrs)
