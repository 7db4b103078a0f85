"""What samplers see of a study that also holds trials no sampler suggested."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any, cast

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState


class OfSuggested(BaseSampler):
    """Hides finished trials without parameters from a sampler: those that `--start-from` began with.

    Optuna's samplers model the parameters that all finished trials share: one trial without any would leave them none,
    and GP and NSGA-II would draw at random from then on.
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


class _Suggested:
    """A study without its finished trials that have no parameters."""

    def __init__(self, study: Study) -> None:
        self._study = study

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    @property
    def trials(self) -> list[FrozenTrial]:
        return self.get_trials()

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        return _with_parameters(self._study.get_trials(deepcopy, states))

    def _get_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        """What Optuna's own samplers call."""
        return _with_parameters(self._study._get_trials(*args, **kwargs))


def _suggested(study: Study) -> Study:
    return cast(Study, _Suggested(study))


def _with_parameters(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    return [trial for trial in trials if trial.distributions or not trial.state.is_finished()]
