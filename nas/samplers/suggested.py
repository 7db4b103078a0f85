"""What samplers see of a study that also holds trials no sampler suggested, and trials that were interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from nas.interruption import was_interrupted
from nas.samplers.view import view


class OfSuggested(BaseSampler):
    """Hides two kinds of finished trials from a sampler: those without parameters, and those that were interrupted.

    Trials without parameters are those that `--start-from` began with. Optuna's samplers model the parameters that all
    finished trials share: one trial without any would leave them none, and GP and NSGA-II would draw at random from
    then on. An interrupted trial's place in the budget is asked for again with the same seed, and shall get the same
    suggestion.
    """

    def __init__(self, sampler: BaseSampler) -> None:
        self.sampler = sampler

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.sampler.infer_relative_search_space(_suggested(study), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self.sampler.sample_relative(_suggested(study), trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.sampler.sample_independent(_suggested(study), trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self.sampler.before_trial(_suggested(study), trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self.sampler.after_trial(_suggested(study), trial, state, values)

    def reseed_rng(self) -> None:
        self.sampler.reseed_rng()


def _suggested(study: Study) -> Study:
    return view(study, _of_use)


def _of_use(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    return [
        trial
        for trial in trials
        if not trial.state.is_finished() or (trial.distributions and not was_interrupted(trial))
    ]
