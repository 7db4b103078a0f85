"""Evolution whose mutations a surrogate ranks, once it has proven itself on this very study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import optuna
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from nas.samplers.children import Conditions, child
from nas.samplers.encoding import Params
from nas.samplers.history import History, Result, distributions, key
from nas.samplers.ranking import Belief, Ranking, Scores, by_informed_surrogate, by_score, by_surrogate
from nas.samplers.scalarised import draw_weights
from nas.samplers.surrogate import GaussianProcess, Surrogate
from nas.samplers.view import view


@dataclass(frozen=True)
class Settings:
    """The same for every space and study; docs/benchmarks.md has what the sampler is worth without each part.

    startup: results before anything but random draws.
    random_share, tpe_share: of the later suggestions.
    population: the last results that may be parents (Real et al. 2019).
    tournament: results of it among which the best becomes the parent.
    children: of so many, each of a tournament of its own, the surrogate chooses.
    scored_children: of so many scores are asked, which take 10 to 30 ms a network where they are costs.
    again: chance that a child is changed once more, and again, where a surrogate ranks; without one it is one change.
    memory: results that the surrogate is fitted to, the best and the last.
    """

    startup: int = 10
    random_share: float = 0.05
    tpe_share: float = 0.1
    population: int = 30
    tournament: int = 5
    children: int = 400
    scored_children: int = 8
    again: float = 0.5
    memory: int = 128


class EvolutionSampler(BaseSampler):
    """Regularised evolution (Real et al. 2019) with children ranked by what the study's results have taught so far.

    Aged population, tournament, mutation. Of many children the one of most expected improvement under `surrogate`
    is suggested, once the surrogate's leave-one-out predictions rank the study's results well enough; else the one with
    the best of those free scores that rank them well enough; else any. Parameters that were tried are not suggested
    again. A share of the suggestions is TPE's, another one random.

    Any space: categorical, int, float, conditional. What a pruned trial would have come to is told from those that went
    on (`comparable`). Several objectives are one score for each suggestion, by weights of its own (Knowles 2006).

    Args:
        seed: of all random draws. Equal seeds and trials give equal suggestions.
        surrogate: what is fitted to encoded results; None for none.
        scores: free scores (larger or smaller may be better) of parameters, by name. Those of past trials are read from
            their user attributes of the same names.
        settings: how many and how often.
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        surrogate: Surrogate | None = GaussianProcess,
        scores: Scores | None = None,
        settings: Settings | None = None,
    ) -> None:
        self._settings = settings or Settings()
        self._surrogate, self._scores = surrogate, scores
        self._rng = np.random.default_rng(seed)
        self._random = RandomSampler(seed=None if seed is None else seed % 2**32)
        self._tpe_seed = seed

    def reseed_rng(self) -> None:
        self._rng = np.random.default_rng()
        self._random.reseed_rng()
        self._tpe_seed = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return distributions(study)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        settings, chance = self._settings, self._rng.random()
        objectives = len(study.directions)
        weights = draw_weights(objectives, self._rng) if objectives > 1 else None
        history = History.of(study, trial.number, weights)
        if len(history.results) < max(1, settings.startup) or chance < settings.random_share:
            return {}
        if chance < settings.random_share + settings.tpe_share:
            return self._of_tpe(study, trial, search_space)
        return self._evolved(history, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _of_tpe(self, study: Study, trial: FrozenTrial, space: dict[str, BaseDistribution]) -> dict[str, Any]:
        """From the last and the best trials: over thousands TPE takes longer than it may."""
        seed = int(self._rng.integers(2**32))
        sampler = TPESampler(multivariate=True, group=True, constant_liar=False, seed=seed)
        seen = view(study, partial(_newest_and_best, study, self._settings.memory))
        sampler.infer_relative_search_space(seen, trial)
        return sampler.sample_relative(seen, trial, space)

    def _evolved(self, history: History, space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
        memory, settings = history.newest_and_best(self._settings.memory), self._settings
        known = partial(self._offspring, history, Conditions([result.params for result in memory]), space)
        plain, informed = self._beliefs(history, memory, space)
        if informed is not None and (plain is None or informed.strength > plain.strength):
            offspring = known(settings.again, settings.children if plain else settings.scored_children)
            if plain is not None:
                offspring = _best(offspring, plain.ranking, self._rng)[: settings.scored_children]
            ranking = informed.ranking
        elif plain is not None:
            offspring, ranking = known(settings.again, settings.children), plain.ranking
        elif self._scores is not None:
            offspring, ranking = known(0.0, settings.scored_children), by_score(self._scores, memory)
        else:
            offspring, ranking = known(0.0, 1), None
        if not offspring:
            return {}
        parent, params = _best(offspring, ranking, self._rng)[0] if ranking else offspring[0]
        # What the rules of conditions took for inactive keeps the parent's value where it is asked for nevertheless.
        return {name: value for name, value in {**parent, **params}.items() if name in space}

    def _beliefs(
        self, history: History, memory: Sequence[Result], space: Mapping[str, BaseDistribution]
    ) -> tuple[Belief | None, Belief | None]:
        """What has proven itself: the surrogate of parameters alone, and that of parameters and scores."""
        if self._surrogate is None:
            return None, None
        plain = by_surrogate(self._surrogate, memory, history.pending, space)
        if self._scores is None:
            return plain, None
        return plain, by_informed_surrogate(self._surrogate, self._scores, memory, history.pending, space)

    def _offspring(
        self, history: History, conditions: Conditions, space: Mapping[str, BaseDistribution], again: float, count: int
    ) -> list[tuple[Params, Params]]:
        """At most `count` parents and children that differ from each other and from all that was tried."""
        population = history.results[-self._settings.population :]
        found: dict[int, tuple[Params, Params]] = {}
        for _ in range(self._settings.children):
            parent = self._parent(population)
            given = child(parent, space, conditions, self._rng)
            while given is not None and self._rng.random() < again:
                given = child(given, space, conditions, self._rng)
            if given is not None and (name := key(given)) not in history.tried:
                found.setdefault(name, (parent, given))
            if len(found) == count:
                break
        return list(found.values())

    def _parent(self, population: Sequence[Result]) -> Params:
        rivals = self._rng.choice(len(population), min(len(population), self._settings.tournament), replace=False)
        return max((population[index] for index in rivals), key=lambda result: result.score).params


def _best(
    offspring: Sequence[tuple[Params, Params]], ranking: Ranking, rng: np.random.Generator
) -> list[tuple[Params, Params]]:
    """Parents and children, the best child first; of equals any: the first would favour the earlier parents."""
    worth = ranking([params for _, params in offspring])
    return [offspring[index] for index in np.lexsort((rng.random(len(offspring)), worth))[::-1]]


def _newest_and_best(study: Study, count: int, trials: list[FrozenTrial]) -> list[FrozenTrial]:
    if len(trials) <= count:
        return trials
    early, late = trials[: -(count // 2)], trials[-(count // 2) :]
    done = [trial for trial in early if trial.state == TrialState.COMPLETE]
    if len(study.directions) == 1:
        sign = 1 if study.direction == optuna.study.StudyDirection.MINIMIZE else -1
        done.sort(key=lambda trial: sign * (trial.value or 0.0))
    chosen = sorted(done[: count - len(late)], key=lambda trial: trial.number)
    return [*chosen, *late]
