"""The samplers by name, each made anew for every trial, with a seed of its own."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable

import optuna
from optuna.samplers import BaseSampler

from nas.errors import NasError
from nas.samplers.evolution import EvolutionSampler
from nas.samplers.suggested import OfSuggested


def _tpe(seed: int) -> BaseSampler:
    # `group` keeps conditional choices in the joint model.
    return optuna.samplers.TPESampler(group=True, multivariate=True, n_startup_trials=10, seed=seed)


SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": _tpe,
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed, deterministic_objective=False),
    "evolution": lambda seed: EvolutionSampler(seed=seed),
}


def make_sampler(name: str, seed: int) -> BaseSampler:
    """A sampler whose suggestions depend on `seed` and the study's trials alone.

    Raises:
        NasError: no sampler has this name.
    """
    if name not in SAMPLERS:
        raise NasError(unknown("sampler", name, SAMPLERS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return OfSuggested(SAMPLERS[name](seed % 2**32))


def unknown(what: str, name: str, known) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"no {what} named {name!r}: {hint}known are {', '.join(known)}"
