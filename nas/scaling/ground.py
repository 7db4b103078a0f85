"""What trainings for scaling stand on: the network, its images, the recipe and the seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nas.architectures import TRIAL, find_architecture, suited
from nas.errors import NasError
from nas.evaluate import Evaluate
from nas.exporting import data_of
from nas.result import TrialResult, open_study
from nas.scaling.short import Say, ShortTrainings
from nas.scaling.start import Start, find_start
from nas.training.data import Dataset, default_data_dir, load_dataset
from nas.training.device import describe_device, pick_device
from nas.training.recipe import YOUNGER, Recipe, make_recipe
from nas.training.timing import time_training
from nas.training.trial import train_architecture
from searchspace import Architecture, Cost
from studies import StudyStore

SHORT = 4  # epochs, annealed, where the study had no shorter trainings of its own


@dataclass(frozen=True, eq=False)
class Ground:
    """A network to be scaled and what its scaled forms are trained on; `recipe` is that of a whole trial."""

    start: Start
    data: Dataset
    recipe: Recipe
    seed: int
    store: StudyStore
    device: str

    def trainings(
        self, recipe: Recipe, evaluate: Evaluate | None, say: Say, stop: Callable[[], bool]
    ) -> ShortTrainings:
        """Trainings by this recipe; `evaluate` takes the place of the real ones."""
        return ShortTrainings(
            store=self.store,
            start=self.start.architecture,
            recipe=recipe,
            seed=self.seed,
            fingerprint=self.data.fingerprint,
            device=self.device,
            evaluate=evaluate or _trainer(self.data, recipe),
            forecast=_unknown if evaluate else self._forecast,
            say=say,
            stop=stop,
        )

    def short_recipe(self, epochs: int | None) -> Recipe:
        """The search's own shortest training, with a schedule that ends at a rate of zero; or one of `epochs`.

        Raises:
            NasError: not a number of epochs.
        """
        whole = self.recipe
        least = whole.rungs[0] if whole.rungs else min(SHORT, whole.epochs)
        return make_recipe(**whole.model_dump() | {"epochs": least if epochs is None else epochs, "rungs": ()})

    def trial_recipe(self) -> Recipe:
        """A whole trial without the shorter trainings ahead of it."""
        return self.recipe.model_copy(update={"rungs": ()})

    def _forecast(self, architecture: Architecture, cost: Cost, recipe: Recipe) -> float | None:
        timing = time_training(architecture, cost, self.data, recipe, lambda: False)
        return None if timing is None else timing.trial(recipe.epochs)


def find_ground(
    what: Architecture | str,
    *,
    dataset: str | None,
    limit_train: int | None,
    resolution: int | None,
    resolution_range: tuple[int, int] | None,
    seed: int | None,
    storage: str,
    study: str | None,
    device: str,
    data_dir: str | Path | None,
) -> Ground:
    """The study's own images, recipe and seed for a trial; for any other network `dataset` and a trial's defaults.

    Raises:
        NasError: no images are given for what is no trial, or settings that a study has decided.
    """
    place = pick_device(device)
    folder = Path(data_dir) if data_dir is not None else default_data_dir()
    name = what if isinstance(what, str) else ""
    name = f"{TRIAL}{name}" if name.isascii() and name.isdigit() else name
    if name.startswith(TRIAL):
        start = find_start(name, None, None, resolution_range, storage, study)  # says what is wrong with the number
        _refuse_settings(limit_train, resolution)
        trial = open_study(storage, study).trial(int(name.removeprefix(TRIAL)))
        data, recipe = data_of(trial, folder, dataset), _recipe_of(trial)
        seed = int(trial.evaluation.recipe["data"]["seed"]) if seed is None else seed
        store = StudyStore(storage, create=False)
    else:
        if dataset is None:
            raise NasError("training scaled networks needs images: give --dataset, or scale a study's trial")
        found = find_architecture(name, storage, study) if isinstance(what, str) else what
        seed, recipe = seed or 0, Recipe()
        data = load_dataset(dataset, data_dir=folder, seed=seed, limit_train=limit_train, resolution=resolution)
        start = find_start(suited(what, found, data), None, None, resolution_range, storage, study, data.resolution)
        store = StudyStore(storage)
    return Ground(start, data.to(place), recipe, seed, store, describe_device(place))


def _unknown(architecture: Architecture, cost: Cost, recipe: Recipe) -> None:
    """Nobody knows how long it takes."""


def _trainer(data: Dataset, recipe: Recipe) -> Evaluate:
    def evaluate(architecture: Architecture, *, seed: int, stop: Callable[[], bool]):
        return train_architecture(architecture, data, recipe, seed=seed, stop=stop)

    return evaluate


def _recipe_of(trial: TrialResult) -> Recipe:
    return make_recipe(**YOUNGER | trial.evaluation.recipe["training"])


def _refuse_settings(limit_train: int | None, resolution: int | None) -> None:
    given = [name for name, value in (("limit-train", limit_train), ("resolution", resolution)) if value is not None]
    if given:
        raise NasError(f"a trial is trained on its study's images: leave out {' and '.join(f'--{n}' for n in given)}")
