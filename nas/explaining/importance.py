"""How much each choice mattered: conditional PED-ANOVA, with the level that chance alone reaches."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator

from nas.explaining.evidence import LEAST, Evidence

ROUGH = 50  # trials below which importances are rough
GOOD = 20  # trials that count as good: at least a tenth of all, at most half of them
SHUFFLES = 40


@dataclass(frozen=True)
class Importance:
    """A choice's share of all importance, 0 to 1, and how many `trials` had it: a conditional one is not asked in all.

    `chance` is what the choice reaches in 1 of 20 shuffles of the scores, in the same unit: with few trials it may be
    more than the importance that all choices have together.
    """

    choice: str
    share: float
    chance: float
    trials: int

    @property
    def above_chance(self) -> bool:
        return self.share > self.chance


def importances(evidence: Evidence, *, good: int = GOOD, shuffles: int = SHUFFLES, seed: int = 0) -> list[Importance]:
    """The choices, the most important first; those with one value in all trials are left out.

    PED-ANOVA (Watanabe et al., IJCAI 2023; for conditional choices Ito et al., KDD 2026), Optuna's default: how far the
    values among the good trials differ from those among all. Optuna counts the best tenth as good, which are 5 of 50:
    in 40 made studies of 50 trials whose truth is one choice, that one came first in 19 of them, and in all 40 with the
    best 20 as good (docs/explain.md). Trials that a person named (`--start-from`) have no choices and are left out.
    """
    trials = [trial for trial in evidence.trials if trial.choices]
    if len(trials) < LEAST:
        return []
    study, names = _as_optuna_study([trial.choices for trial in trials])
    quality = np.array([trial.quality for trial in trials])
    raw = _evaluate(study, names, quality, good)
    generator = np.random.default_rng(seed)
    shuffled = np.array([_evaluate(study, names, generator.permutation(quality), good) for _ in range(shuffles)])
    chance = np.quantile(shuffled.reshape(shuffles, len(names)), 0.95, axis=0)
    total = float(raw.sum()) or 1.0
    found = [
        Importance(name, float(raw[index]) / total, float(chance[index]) / total, _having(trials, name))
        for index, name in enumerate(names)
    ]
    return sorted(found, key=lambda each: (-each.share, each.choice))


def _having(trials: Sequence[Any], name: str) -> int:
    return sum(name in trial.choices for trial in trials)


def _as_optuna_study(choices: Sequence[Mapping[str, Any]]) -> tuple[optuna.Study, list[str]]:
    """The trials as an Optuna study in memory, without values, and the names of the choices that vary.

    Built from the store, it needs no Optuna database: a person may have deleted that half in the dashboard. Numbers
    become their places in order, so that a step from 8 to 16 counts as one from 16 to 24.
    """
    options = {name: _ordered({each[name] for each in choices if name in each}) for each in choices for name in each}
    varied = sorted(name for name, values in options.items() if len(values) > 1)
    distributions = {name: _distribution(options[name]) for name in varied}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize")
    for each in choices:
        present = {name: _coded(each[name], options[name]) for name in varied if name in each}
        having = {name: distributions[name] for name in present}
        study.add_trial(optuna.create_trial(params=present, distributions=having, value=0.0))
    return study, varied


def _ordered(values: set[Any]) -> list[Any]:
    return sorted(values, key=lambda value: (isinstance(value, str), value))


def _numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _distribution(values: Sequence[Any]) -> BaseDistribution:
    return IntDistribution(0, len(values) - 1) if _numbers(values) else CategoricalDistribution(tuple(values))


def _coded(value: Any, values: Sequence[Any]) -> Any:
    return values.index(value) if _numbers(values) else value


def _evaluate(study: optuna.Study, names: list[str], quality: np.ndarray, good: int) -> np.ndarray:
    """The unscaled importance of each name."""
    share = min(0.5, max(0.1, good / len(quality)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a conditional choice has few trials, which the table shows
        found = PedAnovaImportanceEvaluator(target_quantile=share).evaluate(
            study, names, target=lambda trial: -float(quality[trial.number])
        )
    return np.array([found[name] for name in names])
