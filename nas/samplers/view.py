"""A study of which a sampler sees some trials alone."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any, cast

from optuna import Study
from optuna.trial import FrozenTrial, TrialState


class _View:
    def __init__(self, study: Study, keep: Callable[[list[FrozenTrial]], list[FrozenTrial]]) -> None:
        self._study, self._keep = study, keep

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    @property
    def trials(self) -> list[FrozenTrial]:
        return self.get_trials()

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        return self._keep(self._study.get_trials(deepcopy, states))

    def _get_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        """What Optuna's own samplers call."""
        return self._keep(self._study._get_trials(*args, **kwargs))


def view(study: Study, keep: Callable[[list[FrozenTrial]], list[FrozenTrial]]) -> Study:
    """The study, its trials passed through `keep` whenever they are read."""
    return cast(Study, _View(study, keep))
