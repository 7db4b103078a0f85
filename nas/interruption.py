"""Trials that were interrupted: another one takes their place, so for the study it is as if they had never been."""

from __future__ import annotations

from optuna.trial import FrozenTrial, TrialState

REASON = "reason"  # Optuna trial's user attribute: why it ended as it did
INTERRUPTION = "interrupted"


def was_interrupted(trial: FrozenTrial) -> bool:
    """Whether a stop, a kill or an error of the search itself ended the trial, and nothing of its network's own."""
    return trial.state == TrialState.FAIL and trial.user_attrs.get(REASON) == INTERRUPTION
