"""One training: what a person asked for, and what is trained on what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from nas.architectures import find_architecture, form_line, form_of, suited
from nas.bundle import require_writable
from nas.pretrained import find_start
from nas.training.data import Dataset, Split, load_dataset
from nas.training.recipe import Recipe, fine_tuning
from searchspace import Architecture, boosted, cost


@dataclass(frozen=True)
class Asked:
    """What `nas.train` was asked for, under its names."""

    architecture: Architecture | str
    dataset: str
    final: bool
    recipe: Recipe
    learning_rate: float | None
    seed: int
    limit_train: int | None
    resolution: int | None
    data_dir: Path
    storage: str
    study: str | None
    boost: Literal["autoencoder", "random"] | None
    pretrained: bool
    weights: str | Path | None
    out: Path | None


@dataclass(frozen=True, eq=False)
class Task:
    """What is trained on what, after all that can be refused was. `start` is what the card says of given weights."""

    asked: Asked
    architecture: Architecture
    data: Dataset
    test: Split | None
    recipe: Recipe
    form: str | None
    trunk: Mapping[str, Tensor] | None = None
    start: Mapping[str, Any] = field(default_factory=dict)

    @property
    def batch_size(self) -> int:
        return min(self.recipe.batch_size, len(self.data.train))


def prepared(asked: Asked, device: torch.device, say: Callable[[str], None]) -> Task:
    """Find and read all that the training needs, and refuse what can be refused before it.

    Raises:
        NasError: wrong input.
    """
    found = asked.architecture
    if isinstance(found, str):
        found = find_architecture(found, asked.storage, asked.study)
    start = find_start(asked.architecture, found, pretrained=asked.pretrained, weights=asked.weights)
    data = load_dataset(
        asked.dataset,
        data_dir=asked.data_dir,
        seed=asked.seed,
        limit_train=asked.limit_train,
        resolution=asked.resolution if start is None else start.side(asked.dataset, asked.resolution),
    ).to(device)
    recipe = asked.recipe
    if start is None:
        wanted = suited(asked.architecture, found, data)
    else:
        wanted = start.suited(asked.architecture, found, data, asked.resolution)
        say(start.line(wanted, data))
        recipe, data = fine_tuning(recipe, asked.learning_rate), start.prepared(data)
        start.require_finite_logits(wanted, data)
    test = data.read_test()  # a damaged image is found before the training, not after it
    form = form_of(asked.architecture, wanted) if isinstance(asked.architecture, str) else None
    if form == "cifar":
        say(form_line(wanted))
    if asked.boost is not None:
        wanted = boosted(wanted, learner=asked.boost)
    cost(wanted)  # refuses what is too large to build
    if asked.out is not None:
        require_writable(asked.out)
    if start is None:
        return Task(asked, wanted, data, test, recipe, form)
    return Task(asked, wanted, data, test, recipe, form, start.trunk(wanted), {"start": dict(start.origin)})
