"""The samplers by name, each made anew for every trial, with a seed of its own."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable

import optuna
from optuna.samplers import BaseSampler

from nas.errors import NasError
from nas.samplers.evolution import EvolutionSampler
from nas.samplers.ranking import Scores
from nas.samplers.suggested import OfSuggested


def _tpe(seed: int, scores: Scores | None) -> BaseSampler:
    # `group` keeps conditional choices in the joint model.
    return optuna.samplers.TPESampler(group=True, multivariate=True, n_startup_trials=10, seed=seed)


SAMPLERS: dict[str, Callable[[int, Scores | None], BaseSampler]] = {
    "tpe": _tpe,
    "random": lambda seed, scores: optuna.samplers.RandomSampler(seed=seed),
    "nsga2": lambda seed, scores: optuna.samplers.NSGAIISampler(seed=seed),
    "gp": lambda seed, scores: optuna.samplers.GPSampler(seed=seed, deterministic_objective=False),
    "evolution": lambda seed, scores: EvolutionSampler(seed=seed, scores=scores),
}


def make_sampler(name: str, seed: int, scores: Scores | None = None) -> BaseSampler:
    """A sampler whose suggestions depend on `seed`, the study's trials and `scores` alone, which Optuna's do not ask.

    Raises:
        NasError: no sampler has this name.
    """
    if name not in SAMPLERS:
        raise NasError(unknown("sampler", name, SAMPLERS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return OfSuggested(SAMPLERS[name](seed % 2**32, scores))


def unknown(what: str, name: str, known) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"no {what} named {name!r}: {hint}known are {', '.join(known)}"
