"""The pruners by name."""

from __future__ import annotations

from collections.abc import Callable

import optuna
from optuna.pruners import BasePruner

from nas.errors import NasError
from nas.pruners.rungs import RungPruner
from nas.samplers import unknown
from nas.training.recipe import rungs_for


def _asha(epochs: int) -> BasePruner:
    """Asynchronous successive halving (Li et al. 2020): rungs at a quarter and half of the epochs, half goes on.

    A rung earlier than that compares networks before the rate has reached its peak, a later one saves little.
    """
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=max(1, round(epochs / 4)), reduction_factor=2)


def _rungs(epochs: int) -> BasePruner:
    """Complete schedules one after the other, of which each is for the best third of the one before."""
    return RungPruner(rungs_for(epochs))


PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    "rungs": _rungs,
    "asha": _asha,
    "hyperband": lambda epochs: optuna.pruners.HyperbandPruner(min_resource=1, max_resource=epochs),
    "median": lambda epochs: optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=max(1, epochs // 4)),
    "none": lambda epochs: optuna.pruners.NopPruner(),
}


def make_pruner(name: str, epochs: int) -> BasePruner:
    """A pruner for trials of at most `epochs` epochs.

    Raises:
        NasError: no pruner has this name.
    """
    if name not in PRUNERS:
        raise NasError(unknown("pruner", name, PRUNERS))
    return PRUNERS[name](epochs)
