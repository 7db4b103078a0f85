"""A search before it begins: the data read, the space chosen, and all that can be refused by them refused."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import optuna

from nas.admission import LATENCY
from nas.asked import Asked
from nas.candidates import Candidates
from nas.foresight.forecasting import QUICK, Effort, Past, foresee, past_of
from nas.foresight.outlook import Forecast
from nas.meter import Stopwatch
from nas.starts import Start, starts
from nas.study_names import advising
from nas.training.data import Dataset, load_dataset
from nas.training.device import describe_device
from nas.training.latency import latency_on
from nas.warm_start import Suggestion, warm_starts
from searchspace.space import SearchSpace, Task
from searchspace.spaces import find_space
from studies import StudyStore


@dataclass(frozen=True)
class Plan:
    """What a search will do. `stopwatch` measures latencies where they matter: without one it may stay off the GPU."""

    asked: Asked
    store: StudyStore | None
    data: Dataset
    space: SearchSpace
    study: str
    starts: tuple[Start, ...]
    suggestions: tuple[Suggestion, ...]
    stopwatch: Stopwatch | None

    @classmethod
    def of(cls, asked: Asked, store: StudyStore | None) -> Plan:
        """Read the data and what is started from; without a store, that of a database that is not there.

        Raises:
            NasError, StoreError: wrong input, named with what to do.
        """
        data = load_dataset(
            asked.dataset,
            data_dir=asked.folder,
            seed=asked.seed,
            limit_train=asked.limit_train,
            resolution=asked.resolution,
        )
        space = asked.chosen_space or find_space(data.default_space)
        study = f"{data.name}-{space.name}" if asked.study is None else asked.study
        warm: tuple[Suggestion, ...] = ()
        if asked.warm_start is not None:
            earlier = store or StudyStore(asked.storage, create=False)  # which says that there is none
            warm = warm_starts(
                earlier, asked.warm_start, space, study, data.fingerprint, forced=asked.force, seed=asked.seed
            )
        stopwatch = None
        if asked.limits.max_latency is not None or LATENCY in asked.objectives.costs:
            stopwatch = Stopwatch(latency_on(asked.place), describe_device(asked.place))
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        first = starts(asked.named_starts, data, asked.limits, store, study)
        plan = cls(asked, store, data, space, study, first, warm, stopwatch)
        if store is not None:
            with advising():
                store.require_settings(study, plan.settings)
        plan.candidates(optuna.create_study()).require_feasible()
        return plan

    @cached_property
    def task(self) -> Task:
        return Task(channels=self.data.channels, resolution=self.data.resolution, classes=len(self.data.classes))

    @property
    def settings(self) -> dict[str, Any]:
        """What must be the same when the study is resumed."""
        asked = self.asked
        return {
            "dataset": self.data.name,
            "space": self.space.name,
            "objective": str(asked.objectives),
            "epochs": asked.recipe.epochs,
            "limit_train": asked.limit_train,
            "resolution": self.data.resolution,
            "seed": asked.seed,
            "recipe": asked.recipe.settings(),
            "data_fingerprint": self.data.fingerprint,
            "space_digest": self.space.digest,
        }

    @property
    def origin(self) -> dict[str, Any]:
        """What is stored with every trial so that its data can be read again."""
        asked = self.asked
        resolution = self.data.resolution
        return {
            "dataset": asked.source,
            "seed": asked.seed,
            "limit_train": asked.limit_train,
            "resolution": resolution,
        }

    def candidates(self, study: optuna.Study, **bound: Any) -> Candidates:
        """What is to be trained next in this study; see `Candidates` for the bound."""
        return Candidates(
            study=study,
            space=self.space,
            task=self.task,
            limits=self.asked.limits,
            sampler=self.asked.sampler,
            seed=self.asked.seed,
            starts=self.starts,
            stopwatch=self.stopwatch,
            **bound,
        )

    @cached_property
    def outlook(self) -> Forecast:
        """A forecast by a quick look, on the device where this process trains by itself."""
        alone = self.asked.at_once == 1
        # Workers have the device, and a process that trains nothing stays off the GPU.
        return self.foresee(
            self.data.to(self.asked.place) if alone else self.data,
            timed=alone or self.asked.place.type == "cpu",
            effort=QUICK,
        )

    def foresee(self, dataset: Dataset, *, timed: bool, effort: Effort) -> Forecast:
        """A forecast by training on these data for a few steps, where `timed`."""
        asked, at_once = self.asked, self.asked.at_once
        store, recipe = self.store, self.asked.recipe
        return foresee(
            space=self.space,
            task=self.task,
            limits=asked.limits,
            dataset=dataset,
            recipe=recipe,
            pruner=asked.pruner,
            budget=asked.budget,
            seed=asked.seed,
            past=Past() if store is None else past_of(store, self.study, recipe, self.data.fingerprint),
            stopwatch=self.stopwatch,
            workers=at_once if isinstance(at_once, int) else 1,
            timed=timed,
            time_limit=asked.seconds,
            effort=effort,
        )
