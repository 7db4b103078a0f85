"""What a search is asked for, checked before any data are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from optuna.pruners import BasePruner

from nas.errors import NasError
from nas.limits import LIMITS, Limits
from nas.objectives import Objectives
from nas.plugins import load_plugins
from nas.pruners import make_pruner
from nas.quantities import parse_duration, require_whole
from nas.samplers import make_sampler
from nas.starts import named
from nas.training.data import default_data_dir
from nas.training.device import pick_device
from nas.training.recipe import Recipe, make_recipe, rungs_for
from nas.workers.choice import parse_workers
from searchspace.architecture import Architecture
from searchspace.space import SearchSpace
from searchspace.spaces import find_space


@dataclass(frozen=True)
class Asked:
    """The arguments that `nas.search` and `nas.forecast` share, under their names and as a person gave them.

    The properties are what they mean; `check` asks all of them.
    """

    dataset: str
    budget: int
    time_limit: str | float | None
    storage: str
    study: str | None
    space: str | None
    start_from: str | Sequence[str | Architecture]
    warm_start: str | None
    force: bool
    objective: str
    sampler: str
    pruner: str
    seed: int
    epochs: int
    batch_size: int
    optimizer: str
    schedule: str
    learning_rate: float | None
    label_smoothing: float
    max_params: str | int | None
    max_macs: str | int | None
    max_activations: str | int | None
    max_memory: str | int | None
    max_latency: str | float | None
    limit_train: int | None
    resolution: int | None
    device: str
    workers: int | str
    data_dir: str | Path | None

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Self:
        """Of a function's arguments, which may have others beside these."""
        return cls(**{field.name: arguments[field.name] for field in fields(cls)})

    def check(self) -> Self:
        """Refuse what can be refused by itself, and give itself back.

        Raises:
            NasError, ArchitectureError, SpaceError: wrong input, named with what to do.
        """
        require_whole("budget", self.budget)
        require_whole("epochs", self.epochs)
        require_whole("seed", self.seed, least=0)
        for name in ("objective", "study", "space", "warm_start"):
            if not isinstance(getattr(self, name), str | None):
                raise NasError(f"{name} is a text, given {getattr(self, name)!r}")
        load_plugins()
        make_sampler(self.sampler, self.seed)
        _ = (self.seconds, self.recipe, self.objectives, self.limits, self.chosen_pruner, self.chosen_space)
        _ = (self.named_starts, self.place, self.at_once)
        return self

    @cached_property
    def seconds(self) -> float | None:
        """The time limit."""
        return None if self.time_limit is None else parse_duration(self.time_limit)

    @cached_property
    def recipe(self) -> Recipe:
        return make_recipe(
            epochs=self.epochs,
            batch_size=self.batch_size,
            optimizer=self.optimizer,
            schedule=self.schedule,
            learning_rate=self.learning_rate,
            label_smoothing=self.label_smoothing,
            rungs=rungs_for(self.epochs) if self.pruner == "rungs" else None,
        )

    @cached_property
    def objectives(self) -> Objectives:
        found = Objectives.parse(self.objective)
        if found.several and self.pruner not in ("rungs", "none"):
            raise NasError(
                f"the pruner {self.pruner!r} compares accuracies alone: with several objectives take rungs or none"
            )
        return found

    @cached_property
    def limits(self) -> Limits:
        given = {name: getattr(self, name) for name in LIMITS}
        return Limits.read(given, batch_size=self.recipe.batch_size, optimizer=self.recipe.optimizer)

    @cached_property
    def chosen_pruner(self) -> BasePruner:
        return make_pruner(self.pruner, self.recipe.epochs)

    @cached_property
    def chosen_space(self) -> SearchSpace | None:
        """None where the data decide."""
        return None if self.space is None else find_space(self.space)

    @cached_property
    def named_starts(self) -> tuple[tuple[str | Architecture, Architecture | None], ...]:
        return named(self.start_from)

    @cached_property
    def place(self) -> torch.device:
        return pick_device(self.device)

    @cached_property
    def at_once(self) -> int | str:
        """The number of workers, or `auto`."""
        return parse_workers(self.workers)

    @cached_property
    def folder(self) -> Path:
        """Where downloads and weights are kept."""
        return Path(self.data_dir) if self.data_dir is not None else default_data_dir()

    @property
    def source(self) -> str:
        """The dataset's name, or its absolute path, so that it is found from another working directory."""
        return str(Path(self.dataset).resolve()) if Path(self.dataset).exists() else str(self.dataset)
