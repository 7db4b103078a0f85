"""What a search found."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from nas.errors import NasError
from searchspace import Architecture, Cost
from studies import Evaluation, Study, StudyStore, all_trials, leaderboard, pareto_front

if TYPE_CHECKING:
    from pandas import DataFrame

    from studies import CostName


@dataclass(frozen=True)
class TrialResult:
    """One trial: its architecture and how its training ended. The accuracy is the validation split's."""

    evaluation: Evaluation

    @property
    def number(self) -> int:
        return self.evaluation.trial_number

    @property
    def status(self) -> str:
        return self.evaluation.status

    @property
    def val_accuracy(self) -> float | None:
        return self.evaluation.val_accuracy

    @property
    def cost(self) -> Cost:
        return Cost(self.evaluation.params, self.evaluation.macs, self.evaluation.activations)

    @cached_property
    def architecture(self) -> Architecture:
        """What was trained: the base after compound scaling."""
        return Architecture.from_json(self.evaluation.architecture_json)

    @cached_property
    def base(self) -> Architecture:
        """The sampled architecture before compound scaling."""
        text = self.evaluation.base_architecture_json
        return self.architecture if text is None else Architecture.from_json(text)


@dataclass(frozen=True)
class SearchResult:
    """A study to read: `best`, `trial(17)`, `rank()`, `pareto_front("params")`, `dataframe()`.

    `ended` says in a line why the search stopped; `signal` is the number of the signal that ended it, if one did.
    `validation_images` is what its accuracies were measured on, known where the study was searched and not only opened.
    """

    store: StudyStore
    study: Study
    ended: str = ""
    signal: int | None = None
    validation_images: int | None = None

    @property
    def best(self) -> TrialResult:
        """The most accurate complete trial, else the most accurate pruned one.

        Raises:
            NasError: no trial has a score yet.
        """
        found = self.store.best(self.study.id)
        if found is None:
            raise NasError(f"study {self.study.name!r} has no trial with a score yet; search on with a larger --budget")
        return TrialResult(found)

    def trial(self, number: int) -> TrialResult:
        return TrialResult(self.store.evaluation(self.study.id, number))

    def rank(self, top: int | None = None) -> DataFrame:
        """The trials, best validation accuracy first."""
        return leaderboard(self.store, self.study.id, top)

    def pareto_front(self, cost: CostName = "params") -> DataFrame:
        """The complete trials that no other beats in both accuracy and cost."""
        return pareto_front(self.store, self.study.id, cost)

    def dataframe(self) -> DataFrame:
        """Every trial with everything stored about it but its curve and architecture."""
        return all_trials(self.store, self.study.id)


def open_study(storage: str = "sqlite:///nas.db", study: str | None = None) -> SearchResult:
    """An existing study (default: the newest) of a database, to read.

    Raises:
        StoreError: the database cannot be opened, or has no such study.
    """
    store = StudyStore(storage, create=False)
    return SearchResult(store, store.study(study))
